/** Runs once, before the workers exist. They inherit the server's address from the environment. */
export { startSharedPostgres as default } from './postgres.js';
