import { fieldRule } from '../../http/field-validators.js';
import { isIdempotencyKey } from './idempotency-key.js';

/** A key in a body, as the `Idempotency-Key` header would carry it. */
export function IsIdempotencyKey(): PropertyDecorator {
  return fieldRule('isIdempotencyKey', {
    accepts: (value) => typeof value === 'string' && isIdempotencyKey(value),
    expected: 'must be an idempotency key of 1 to 255 visible ASCII characters',
  });
}
