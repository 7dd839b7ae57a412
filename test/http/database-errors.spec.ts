import { isDatabaseUnavailable, OverloadedError } from '../../src/database/database-errors.js';
import { refusalOf } from '../../src/http/refusal-of.js';
import { failedStatement } from './edge-app.js';

const withCode = (code: string) => Object.assign(new Error('x'), { code });

describe('a database is unavailable', () => {
  it.each<[string, unknown]>([
    ['when it refuses connections', withCode('ECONNREFUSED')],
    [
      'when it refuses at every address of its name',
      new AggregateError([withCode('ECONNREFUSED'), withCode('ECONNREFUSED')]),
    ],
    ['when it shuts down', failedStatement('57P01')],
    ['when it starts', failedStatement('57P03')],
    ['when it has no connection left', failedStatement('53300')],
    ['when its disk is full', failedStatement('53100')],
    ['when it is a standby', failedStatement('25006')],
    ['when a connection breaks', new Error('Connection terminated unexpectedly')],
    ['when another error says so', new Error('x', { cause: withCode('08006') })],
  ])('%s', (_name, error) => expect(isDatabaseUnavailable(error)).toBe(true));

  it.each<[string, unknown]>([
    ['when it refuses a row', failedStatement('23505')],
    ['when a statement is wrong', failedStatement('42601')],
    ['when we have a bug', new TypeError('x')],
    ['when a message only mentions it', new Error('x: Connection terminated')],
    ['when the thrown value is not an error', 'ECONNREFUSED'],
  ])('but not %s', (_name, error) => expect(isDatabaseUnavailable(error)).toBe(false));

  it('but not when an error is its own cause, and the check ends', () => {
    const error = new Error('x');
    error.cause = error;
    expect(isDatabaseUnavailable(error)).toBe(false);
  });
});

describe('a refusal for now', () => {
  it.each<[string, unknown]>([
    ['the database is down', failedStatement('57P01')],
    ['a lock was not to be had', failedStatement('55P03')],
    ['too much waits already', new OverloadedError('x')],
  ])('is what a client gets when %s', (_name, error) => {
    expect(refusalOf(error)).toMatchObject({ code: 'service_unavailable' });
  });
});
