import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { fingerprint } from '../../src/idempotency/fingerprint.js';

type Json = fc.JsonValue;

/** As it comes from the wire: JSON knows no negative zero. */
const json = fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);
const body = fc
  .dictionary(fc.string({ unit: 'grapheme', maxLength: 8 }), json, { maxKeys: 8 })
  .map((value) => JSON.parse(JSON.stringify(value)) as Record<string, Json>);

const of = (value: object): string => fingerprint({ operation: 'charge', body: value });

/** The same value with the members of every object in the opposite order. */
function reversed(value: Json): Json {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, member]) => [name, reversed(member as Json)]),
  );
}

/** The paths of a value's parts, each as the names that lead to it. */
function paths(value: Json): string[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [
    [],
    ...Object.entries(value).flatMap(([name, member]) =>
      paths(member as Json).map((path) => [name, ...path]),
    ),
  ];
}

function replaced(value: Json, [name, ...rest]: string[], part: Json): Json {
  if (name === undefined) return part;
  if (Array.isArray(value))
    return value.map((member, index) => (String(index) === name ? replaced(member, rest, part) : member));
  const members = Object.entries(value as Record<string, Json>);
  return Object.fromEntries(
    members.map(([key, member]) => [key, key === name ? replaced(member, rest, part) : member]),
  );
}

describe('a fingerprint', () => {
  it('is the SHA-256 of the canonical JSON of RFC 8785, with a version', () => {
    const canonical = '{"body":{"a":[1,"€",null,true],"b":1e+30},"operation":"charge","params":{"id":"7"}}';
    const digest = createHash('sha256').update(canonical).digest('base64url');
    const input = { params: { id: '7' }, operation: 'charge', body: { b: 1e30, a: [1, '€', null, true] } };
    expect(fingerprint(input)).toBe(`v1:${digest}`);
  });

  it('of version 1 is what it has always been', () => {
    const charge = {
      amount: 1999,
      currency: 'EUR',
      payment_method: 'pm_card_visa',
      metadata: { order: '1001 €' },
    };
    expect(of(charge)).toBe('v1:q5A1hNc1OstlQCxSGzTM8x9HUADSq_13Qie7-4-d-Tw');
    expect(fingerprint({ operation: 'refund', params: { transactionId: 't' }, body: {} })).toBe(
      'v1:bGUZ0ggnAl5l3m4zJM2ZRHGpxxV8wyCsXQnaCupxXno',
    );
  });

  it('does not depend on the order of members, at any depth', () => {
    fc.assert(fc.property(body, (value) => expect(of(reversed(value) as object)).toBe(of(value))));
  });

  it('does not depend on how the JSON was written', () => {
    fc.assert(
      fc.property(body, (value) => {
        expect(of(JSON.parse(JSON.stringify(value, null, 2)) as object)).toBe(of(value));
        const escaped = JSON.stringify(value).replaceAll(/[\u0080-\uffff]/g, (char) => {
          return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
        });
        expect(of(JSON.parse(escaped) as object)).toBe(of(value));
      }),
    );
    expect(of(JSON.parse('{"amount":1.0e3}') as object)).toBe(of({ amount: 1000 }));
  });

  it('changes with every change of any part of the body, wherever it is', () => {
    const change = body.chain((value) =>
      fc.record({ value: fc.constant(value), path: fc.constantFrom(...paths(value)), part: json }),
    );
    fc.assert(
      fc.property(change, ({ value, path, part }) => {
        const other = replaced(value, path, part);
        fc.pre(typeof other === 'object' && other !== null && !isDeepStrictEqual(other, value));
        expect(of(other)).not.toBe(of(value));
      }),
      { numRuns: 500 },
    );
  });

  it('changes when a member is added or taken away', () => {
    fc.assert(
      fc.property(body, fc.string(), json, (value, name, member) => {
        fc.pre(!Object.hasOwn(value, name) && name !== '__proto__');
        expect(of({ ...value, [name]: member })).not.toBe(of(value));
      }),
    );
  });

  it.each<[string, unknown, unknown]>([
    ['a number and its digits', 1, '1'],
    ['nothing and an empty text', null, ''],
    ['nothing and false', null, false],
    ['composed and decomposed letters', 'é', 'e\u0301'],
    ['letters that look alike', 'a', 'а'],
    ['upper and lower case', 'A', 'a'],
    ['a text and the same with a blank', 'a', 'a '],
    ['neighbours at the limit of exact integers', 9_007_199_254_740_991, 9_007_199_254_740_990],
    ['neighbours of a fraction', 0.1, 0.10000000000000002],
    ['a list and its only item', ['a'], 'a'],
    ['lists in another order', [1, 2], [2, 1]],
    ['members that run into each other', { a: 'b","c":"d' }, { a: 'b', c: 'd' }],
  ])('tells %s apart', (_what, one, other) => {
    expect(of({ value: one })).not.toBe(of({ value: other }));
  });

  it('changes with the operation and with each path parameter', () => {
    fc.assert(
      fc.property(body, fc.string(), fc.string(), (value, one, other) => {
        fc.pre(one !== other);
        expect(fingerprint({ operation: one, body: value })).not.toBe(
          fingerprint({ operation: other, body: value }),
        );
        const withId = (id: string): string =>
          fingerprint({ operation: 'refund', params: { id }, body: value });
        expect(withId(one)).not.toBe(withId(other));
      }),
    );
  });

  it('ignores undefined members', () => {
    expect(of({ a: 1, b: undefined })).toBe(of({ a: 1 }));
  });
});
