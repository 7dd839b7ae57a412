import fc, { type Arbitrary } from 'fast-check';

/** A well-formed id that nothing has. */
export const UNKNOWN = '019b2f6e-0000-7000-8000-000000000000';

const NASTY_STRINGS = [
  '',
  '\0',
  'a\0b',
  '\ud800',
  '\udfff\ud800',
  '__proto__',
  'constructor',
  'toString',
  '9'.repeat(400),
  '-1',
  '1e309',
  'NaN',
  '{}',
  "'; DROP TABLE payments; --",
  '$1',
  '%s%n',
  '../../etc/passwd',
  '\r\nx-injected: yes',
  '\u202e\u0000\uffff',
  '😀'.repeat(600),
  'http://',
  'http://[::1',
  'https://a:99999/',
  'javascript:alert(1)',
  UNKNOWN.replaceAll('-', ''),
  `{${UNKNOWN}}`,
] as const;

export const nastyString = fc.oneof(
  fc.constantFrom(...NASTY_STRINGS),
  fc.string({ unit: 'binary', maxLength: 40 }),
);

/** JSON text, so that numbers may exceed JavaScript's and names may occur twice. */
const nastyJson: Arbitrary<string> = fc.oneof(
  nastyString.map((text) => JSON.stringify(text)),
  fc.constantFrom('null', 'true', '0', '-0', '-1', '1e999', '1E-999', '0.1', '9'.repeat(350), '2147483648'),
  fc.constantFrom('[]', '{}', '[[[]]]', '{"__proto__":{"enabled":true}}', '{"constructor":{"prototype":{}}}'),
  fc.integer({ min: 1, max: 6_000 }).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  fc.integer({ min: 1, max: 6_000 }).map((depth) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`),
  fc.array(nastyString, { maxLength: 5 }).map((list) => JSON.stringify(list)),
);

const FIELDS = [
  'url',
  'event_types',
  'description',
  'enabled',
  'created_gte',
  'created_lt',
  'only_undelivered',
  'cursor',
  'idempotency_key',
  'data',
  'type',
] as const;

/** No route accepts any of these bodies: each has a field that no route knows. */
const nastyObject = fc
  .array(fc.tuple(fc.oneof(fc.constantFrom(...FIELDS), nastyString), nastyJson), { maxLength: 6 })
  .map((entries) => [...entries, ['nobody_knows_me', '1'] as const])
  .map((entries) => `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`);

export const nastyBody: Arbitrary<string | Buffer> = fc.oneof(
  { weight: 4, arbitrary: nastyObject },
  // No body, or an empty object, would be valid for some routes.
  { weight: 2, arbitrary: nastyJson.filter((text) => text !== '{}') },
  fc.string({ minLength: 1, unit: 'binary' }).filter((text) => text.trim() !== '{}'),
  fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
  fc.tuple(nastyObject, fc.nat()).map(([text, at]) => text.slice(0, 1 + (at % (text.length - 1)))),
  fc.constant(`{"url":"${'x'.repeat(70_000)}"}`),
);

/** An id in a path. */
export const nastyId = fc.oneof(
  nastyString.filter((text) => text.isWellFormed()).map(encodeURIComponent),
  fc.constantFrom(UNKNOWN, UNKNOWN.toUpperCase(), '00000000-0000-0000-0000-000000000000'),
  fc.constantFrom(
    '%00',
    '%',
    '%zz',
    '%c3%28',
    '%ed%a0%80',
    '..%2f..',
    'x'.repeat(800),
    '.',
    '..',
    '%2e%2e',
    ';',
    '*',
  ),
);

const PARAMETERS = [
  'limit',
  'cursor',
  'type',
  'status',
  'transaction_id',
  'account',
  'currency',
  'created_gte',
  'created_lt',
] as const;
const TIMES = [
  '2026-02-30T00:00:00Z',
  '2016-12-31T23:59:60Z',
  '0000-01-01T00:00:00Z',
  '9999-12-31T23:59:59-23:59',
  '2026-01-01T00:00:00+99:99',
  '2026-01-01T24:00:00Z',
  `2026-01-01T00:00:00.${'9'.repeat(300)}Z`,
  '2026-01-01T00:00:00z',
  '+275760-09-13T00:00:00Z',
] as const;
const CURSORS = [
  UNKNOWN,
  'ffffffff-ffff-7fff-bfff-ffffffffffff',
  `${UNKNOWN}.1`,
  `${UNKNOWN}.32767`,
  `${UNKNOWN}.32768`,
  `${UNKNOWN}\0`,
  '\0',
].map((place) => Buffer.from(place, 'latin1').toString('base64url'));

export const nastyQuery = fc
  .array(
    fc.tuple(
      fc.oneof(
        { weight: 4, arbitrary: fc.constantFrom<string>(...PARAMETERS) },
        nastyString.filter((text) => text.isWellFormed()),
      ),
      fc.oneof(
        fc.constantFrom<string>(...TIMES, ...CURSORS, UNKNOWN, '0', '101', '1', '-0', '1e1', 'EUR'),
        nastyString.filter((text) => text.isWellFormed()),
      ),
    ),
    { maxLength: 4 },
  )
  .map((pairs) => pairs.map((pair) => pair.map(encodeURIComponent).join('=')).join('&'));
