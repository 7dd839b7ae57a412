import { findCurrency, listCurrencies } from '../../src/currencies/currencies.js';

/**
 * ISO 4217 list one up to amendment 180 (2026-01-01), without funds, metals and codes that are not currencies. Spelled
 * out, so that we notice when an update of the library adds or drops a currency.
 */
const WITHOUT_DIGITS = 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF';
const WITH_TWO_DIGITS = `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY
  COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD
  KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR
  NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
  TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`;
const WITH_THREE_DIGITS = 'BHD IQD JOD KWD LYD OMR TND';

const codes = (text: string) => text.split(/\s+/);

describe('the currencies', () => {
  it('are those of ISO 4217 that can be used to pay, with their exponents', () => {
    const expected = [
      ...codes(WITHOUT_DIGITS).map((code) => [code, 0]),
      ...codes(WITH_TWO_DIGITS).map((code) => [code, 2]),
      ...codes(WITH_THREE_DIGITS).map((code) => [code, 3]),
    ].toSorted(([a], [b]) => String(a).localeCompare(String(b)));
    expect(listCurrencies().map(({ code, exponent }) => [code, exponent])).toEqual(expected);
    expect(expected).toHaveLength(155);
  });

  it.each([
    ['EUR', 2],
    ['JPY', 0],
    ['KWD', 3],
    ['ISK', 0],
    ['UGX', 0],
    ['MGA', 2],
    ['MRU', 2],
    ['XCG', 2],
  ])('include %s with %i digits', (code, exponent) => {
    expect(findCurrency(code)).toEqual({ code, exponent, name: expect.stringMatching(/^\p{L}/u) });
  });

  it.each([
    ['the code for tests', 'XTS'],
    ['the code for no currency', 'XXX'],
    ['gold', 'XAU'],
    ['silver', 'XAG'],
    ['a unit of account', 'XDR'],
    ['a fund', 'CLF'],
    ['a complementary currency', 'CHE'],
    ['the next-day dollar', 'USN'],
    ['a bond market unit', 'XBA'],
    ['Croatia before the euro', 'HRK'],
    ['Bulgaria before the euro', 'BGN'],
    ['Curaçao before XCG', 'ANG'],
    ['Zimbabwe before ZWG', 'ZWL'],
    ['Sierra Leone before SLE', 'SLL'],
    ['Cuba before 2021', 'CUC'],
    ['Germany before the euro', 'DEM'],
    ['a code in lower case', 'eur'],
    ['a number', '978'],
    ['an empty code', ''],
    ['a name that every object has', 'constructor'],
  ])('do not include %s', (_what, code) => expect(findCurrency(code)).toBeUndefined());

  it('are all known to Unicode, except the three newest', () => {
    const known = new Set(Intl.supportedValuesOf('currency'));
    const ours = listCurrencies().map(({ code }) => code);
    expect(ours.filter((code) => !known.has(code) && !['VED', 'XCG', 'ZWG'].includes(code))).toEqual([]);
  });
});
