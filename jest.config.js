/** The tests are compiled by `npm run build:all` and run from dist/ as the ES modules that they are. */
export default {
  rootDir: '.',
  roots: ['<rootDir>/dist/test'],
  testMatch: ['**/*.spec.js'],
  transform: {},
  testEnvironment: 'node',
  globalSetup: '<rootDir>/dist/test/support/global-setup.js',
  globalTeardown: '<rootDir>/dist/test/support/global-teardown.js',
  // One more than a small machine has cores. With four, tests that depend on time failed on a busy machine.
  maxWorkers: 3,
  testTimeout: 30_000,
};
