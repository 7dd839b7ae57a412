import { fieldRule } from '../http/field-validators.js';
import { findCurrency } from './currencies.js';

/** An active ISO 4217 code in upper case. */
export function IsCurrencyCode(): PropertyDecorator {
  return fieldRule('isCurrencyCode', {
    accepts: (value) => typeof value === 'string' && findCurrency(value) !== undefined,
    expected: 'must be an active ISO 4217 code in upper case, such as EUR',
  });
}
