import fc from 'fast-check';
import { RefusedError } from '../../src/domain/errors.js';
import {
  MAX_KEY_LENGTH,
  parseIdempotencyKey,
  readIdempotencyKey,
} from '../../src/idempotency/wire/idempotency-key.js';

/** Every character that a key may have. */
const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
const key = fc.string({ unit: visible, minLength: 1, maxLength: MAX_KEY_LENGTH });
const bareKey = key.filter((text) => !text.startsWith('"'));
const anything = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  // Strings that are almost valid find more than random ones.
  fc.string({
    unit: fc.constantFrom('"', '\\', ';', '=', ' ', '\t', 'k', '?', '1', ':', 'ü', '\0'),
    maxLength: 20,
  }),
  fc.string({ unit: visible, minLength: MAX_KEY_LENGTH - 2, maxLength: MAX_KEY_LENGTH + 3 }),
);

/** As RFC 9651 section 3.3.3 writes a string. */
const quoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;

/** The key, or null if it was refused. Any other exception is a fault. */
function outcome(parse: () => string | null): string | null {
  try {
    const found = parse();
    if (found === null) throw new Error('no key was found at all');
    return found;
  } catch (error) {
    if (error instanceof RefusedError && error.refusal.code === 'idempotency_key_invalid') return null;
    throw error;
  }
}

describe('an idempotency key', () => {
  it('is the same, quoted or bare', () => {
    fc.assert(
      fc.property(bareKey, (text) => {
        expect(parseIdempotencyKey(text)).toBe(text);
        expect(parseIdempotencyKey(quoted(text))).toBe(text);
      }),
    );
  });

  it('may hold any visible ASCII character when quoted, a quote in front included', () => {
    fc.assert(
      fc.property(key, (text) => {
        expect(parseIdempotencyKey(quoted(text))).toBe(text);
      }),
    );
  });

  it('is always 1 to 255 visible ASCII characters, or refused with that one error, whatever is sent', () => {
    fc.assert(
      fc.property(anything, (text) => {
        expect(outcome(() => parseIdempotencyKey(text)) ?? 'refused').toMatch(/^[\x21-\x7e]{1,255}$/);
      }),
      { numRuns: 500 },
    );
  });

  it('is refused as a whole when any of its characters is not visible ASCII', () => {
    const invisible = fc.integer({ min: 0, max: 0xff }).filter((code) => code < 0x21 || code > 0x7e);
    fc.assert(
      fc.property(bareKey, bareKey, invisible, (before, after, code) => {
        fc.pre(before.length + after.length < MAX_KEY_LENGTH);
        expect(outcome(() => parseIdempotencyKey(before + String.fromCharCode(code) + after))).toBeNull();
      }),
    );
  });

  it('has at most 255 characters, in either form', () => {
    fc.assert(
      fc.property(fc.string({ unit: visible, minLength: 256, maxLength: 300 }), (text) => {
        expect(outcome(() => parseIdempotencyKey(text))).toBeNull();
        expect(outcome(() => parseIdempotencyKey(quoted(text)))).toBeNull();
      }),
    );
  });

  describe('among the header lines', () => {
    const name = fc.constantFrom('Idempotency-Key', 'idempotency-key', 'IDEMPOTENCY-KEY');
    const otherLines = fc
      .array(fc.tuple(fc.constantFrom('Host', 'X-Idempotency-Key', 'Idempotency-Key-2', 'Accept'), anything))
      .map((lines) => lines.flat());

    it('is found wherever it stands and in whatever case its name is written', () => {
      fc.assert(
        fc.property(otherLines, name, bareKey, otherLines, (before, header, text, after) => {
          expect(readIdempotencyKey([...before, header, text, ...after])).toBe(text);
        }),
      );
    });

    it('is missing when no line has that name', () => {
      fc.assert(
        fc.property(otherLines, (lines) => {
          expect(readIdempotencyKey(lines)).toBeNull();
        }),
      );
    });

    it('is refused when two lines have that name, whether they are the same or not', () => {
      fc.assert(
        fc.property(name, name, bareKey, bareKey, otherLines, (one, two, first, second, lines) => {
          expect(outcome(() => readIdempotencyKey([one, first, ...lines, two, second]))).toBeNull();
          expect(outcome(() => readIdempotencyKey([one, first, ...lines, two, first]))).toBeNull();
        }),
      );
    });

    it('may be surrounded by spaces and tabs, and by no other white space', () => {
      expect(readIdempotencyKey(['Idempotency-Key', ' \tkey\t '])).toBe('key');
      for (const blank of ['\u00a0', '\v', '\f', '\r', '\n']) {
        expect(outcome(() => readIdempotencyKey(['Idempotency-Key', `${blank}key`]))).toBeNull();
        expect(outcome(() => readIdempotencyKey(['Idempotency-Key', `key${blank}`]))).toBeNull();
      }
    });
  });
});
