export { stopSharedPostgres as default } from './postgres.js';
