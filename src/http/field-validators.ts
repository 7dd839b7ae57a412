import { registerDecorator, ValidateIf } from 'class-validator';
import { MAX_AMOUNT_MINOR, MIN_AMOUNT_MINOR } from '../domain/money.js';
import { isRfc3339 } from './rfc3339.js';
import { isSafeText } from './safe-text.js';

const MIN_AMOUNT = Number(MIN_AMOUNT_MINOR);
const MAX_AMOUNT = Number(MAX_AMOUNT_MINOR);

const PAYMENT_METHOD_TOKEN = /^[A-Za-z][A-Za-z0-9_]{0,127}$/;
/** A card number has 12 to 19 digits. If we accepted one as a token, we would store it and show it. */
const CARD_NUMBER = /\d{12}/;

/** Checks the field unless it is left out. Unlike `@IsOptional()`, it does not accept null. */
export function IfGiven(): PropertyDecorator {
  return ValidateIf((_dto, value) => value !== undefined);
}

/** A string of `min` to `max` characters that PostgreSQL can store. */
export function IsSafeText(min: number, max: number): PropertyDecorator {
  return fieldRule('isSafeText', {
    accepts: (value) => typeof value === 'string' && isSafeText(value, min, max),
    expected: `must be a string of ${min} to ${max} characters, without NUL and without lone surrogates`,
  });
}

/** An amount in the currency's minor unit. */
export function IsAmount(): PropertyDecorator {
  return fieldRule('isAmount', {
    accepts: (value) => Number.isInteger(value) && MIN_AMOUNT <= Number(value) && Number(value) <= MAX_AMOUNT,
    expected: `must be a whole number from ${MIN_AMOUNT} to ${MAX_AMOUNT}, in the currency's minor unit`,
  });
}

/** An RFC 3339 time. */
export function IsTime(): PropertyDecorator {
  return fieldRule('isTime', {
    accepts: (value) => typeof value === 'string' && isRfc3339(value),
    expected: 'must be an RFC 3339 time, such as 2026-01-31T09:30:00Z',
  });
}

export function IsTrueOrFalse(): PropertyDecorator {
  return fieldRule('isTrueOrFalse', {
    accepts: (value) => typeof value === 'boolean',
    expected: 'must be true or false',
  });
}

/** A plain object of strings with bounded keys and values, such as `metadata`. */
export function IsStringMap(maxEntries: number, maxKey: number, maxValue: number): PropertyDecorator {
  return fieldRule('isStringMap', {
    accepts: (value) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
      const entries = Object.entries(value);
      return (
        entries.length <= maxEntries &&
        entries.every(([key, entry]) => isMapKey(key, maxKey) && isMapValue(entry, maxValue))
      );
    },
    expected:
      `must be an object of at most ${maxEntries} strings, with keys of 1 to ${maxKey} ` +
      `and values of at most ${maxValue} characters`,
  });
}

/** The token of a payment method, never a card number. */
export function IsPaymentMethodToken(): PropertyDecorator {
  return fieldRule('isPaymentMethodToken', {
    accepts: (value) =>
      typeof value === 'string' &&
      PAYMENT_METHOD_TOKEN.test(value) &&
      !CARD_NUMBER.test(value.replaceAll('_', '')),
    expected: 'must be the token of a payment method, such as pm_card_visa, never a card number',
  });
}

function isMapKey(key: string, max: number): boolean {
  return key !== '__proto__' && isSafeText(key, 1, max);
}

function isMapValue(value: unknown, max: number): boolean {
  return typeof value === 'string' && isSafeText(value, 0, max);
}

/** Makes a decorator from a rule. The message says what we expect, never the value, which may be a secret. */
export function fieldRule(
  name: string,
  rule: { accepts(value: unknown): boolean; expected: string },
): PropertyDecorator {
  return (target, propertyName) => {
    registerDecorator({
      name,
      target: target.constructor,
      propertyName: String(propertyName),
      validator: {
        validate: (value: unknown) => rule.accepts(value),
        defaultMessage: () => rule.expected,
      },
    });
  };
}
