/** Runs once, before the workers exist: they inherit the server's address with the environment. */
export { startSharedPostgres as default } from './postgres.js';
