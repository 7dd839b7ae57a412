/** The tests are compiled by `npm run build:all` and run from dist/ as the ES modules that they are. */
export default {
  rootDir: '.',
  roots: ['<rootDir>/dist/test'],
  testMatch: ['**/*.spec.js'],
  transform: {},
  testEnvironment: 'node',
  globalSetup: '<rootDir>/dist/test/support/global-setup.js',
  globalTeardown: '<rootDir>/dist/test/support/global-teardown.js',
  // Two more than a small machine has cores: the longest tests wait for leases rather than work.
  maxWorkers: 4,
  testTimeout: 30_000,
};
