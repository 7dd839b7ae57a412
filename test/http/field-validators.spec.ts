import { validateSync } from 'class-validator';
import { assert, nat, property as forAll, string } from 'fast-check';
import { IsCurrencyCode } from '../../src/currencies/currency-code.validator.js';
import { IsAmount, IsPaymentMethodToken, IsSafeText, IsStringMap } from '../../src/http/field-validators.js';
import { isSafeText } from '../../src/http/safe-text.js';

class Fields {
  @IsAmount() amount: unknown = 1;
  @IsCurrencyCode() currency: unknown = 'EUR';
  @IsPaymentMethodToken() token: unknown = 'pm_card_visa';
  @IsSafeText(2, 4) text: unknown = 'abc';
  @IsStringMap(2, 3, 4) map: unknown = {};
}

/** Returns the names of the wrong fields when the given field has this value. */
function wrong(field: keyof Fields, value: unknown): string[] {
  return validateSync(Object.assign(new Fields(), { [field]: value })).map(({ property }) => property);
}

describe('the field rules', () => {
  it.each([1, 999_999_999_999, 1e3])('accept %p as an amount', (value) =>
    expect(wrong('amount', value)).toEqual([]),
  );

  it.each([0, -1, 1.5, 1_000_000_000_000, 2 ** 53, Infinity, NaN, '1', 1n, null, undefined, [1], {}])(
    'refuse %p as an amount',
    (value) => expect(wrong('amount', value)).toEqual(['amount']),
  );

  it.each(['eur', 'EU', 'EURO', 'XXX', 'XTS', 'XAU', 'DEM', '', ' EUR', 978, null, ['EUR']])(
    'refuse %p as a currency',
    (value) => expect(wrong('currency', value)).toEqual(['currency']),
  );

  it.each(['pm_card_visa', 'pm_1MqLiJLkdIwHu7ixUEgbFdYb', 'tok', `a${'b'.repeat(127)}`])(
    'accept %p as a token',
    (value) => expect(wrong('token', value)).toEqual([]),
  );

  it.each([
    '4242424242424242',
    '4242 4242 4242 4242',
    '4242-4242-4242-4242',
    'pm_4242424242424242',
    'pm_4242_4242_4242_4242',
    'card378282246310005',
    '_x',
    '1x',
    'pm card',
    'pm_é',
    'pm_x\n',
    '',
    `a${'b'.repeat(128)}`,
    7,
    null,
    {},
  ])('refuse %p as a token', (value) => expect(wrong('token', value)).toEqual(['token']));

  it.each(['ab', 'abcd', '😀😀', '😀😀😀😀'])('accept %p as a text of 2 to 4 characters', (value) =>
    expect(wrong('text', value)).toEqual([]),
  );

  it.each(['a', 'abcde', '😀', '😀😀😀😀😀', 'a\u0000b', 'a\ud800b', '\udc00ab', 7, null, {}])(
    'refuse %p as a text of 2 to 4 characters',
    (value) => expect(wrong('text', value)).toEqual(['text']),
  );

  it('count characters as code points in any text', () => {
    assert(
      forAll(string({ unit: 'binary', maxLength: 12 }), nat(6), nat(6), (text, min, more) => {
        const length = Array.from(text).length;
        const fits = min <= length && length <= min + more && !text.includes('\u0000');
        expect(isSafeText(text, min, min + more)).toBe(fits);
      }),
    );
  });

  it.each([{}, { a: 'b' }, { abc: '' }, { a: 'abcd', b: '😀😀' }])('accept %p as a map', (value) =>
    expect(wrong('map', value)).toEqual([]),
  );

  it.each([
    null,
    [],
    ['a'],
    'a',
    { a: 1 },
    { a: null },
    { a: { b: 'c' } },
    { '': 'a' },
    { abcd: 'a' },
    { a: 'abcde' },
    { a: '\u0000' },
    { 'a\ud800': 'a' },
    { a: '1', b: '2', c: '3' },
    JSON.parse('{"__proto__":"x"}'),
  ])('refuse %p as a map', (value) => expect(wrong('map', value)).toEqual(['map']));
});
