import { fieldRule } from '../../http/field-validators.js';
import { isIdempotencyKey } from './idempotency-key.js';

/** A key in a body, in the form that the `Idempotency-Key` header takes. */
export function IsIdempotencyKey(): PropertyDecorator {
  return fieldRule('isIdempotencyKey', {
    accepts: (value) => typeof value === 'string' && isIdempotencyKey(value),
    expected: 'must be an idempotency key of 1 to 255 visible ASCII characters',
  });
}
