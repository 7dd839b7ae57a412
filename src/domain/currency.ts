/**
 * The active codes of ISO 4217 (list one, as amended to 2026) that somebody can pay in. Left out on purpose: metals and
 * bond units (XAU, XBA), units of account and funds (XDR, XAD, CLF, CHE), testing and "no currency" (XTS, XXX).
 * Written down here because `Intl.supportedValuesOf('currency')` also lists what was withdrawn decades ago.
 */
const ACTIVE_CURRENCIES: ReadonlySet<string> = new Set(
  `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC
  CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR
  ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
  MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE
  SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF
  XPF YER ZAR ZMW ZWG`.split(/\s+/),
);

/** Whether `code` is an active ISO 4217 currency, in the upper case that the standard writes. */
export function isCurrency(code: string): boolean {
  return ACTIVE_CURRENCIES.has(code);
}
