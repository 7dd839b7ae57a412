import { randomBytes } from 'node:crypto';

/** Standard Webhooks allows 24 to 64. */
const SECRET_BYTES = 32;

export function newSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
}
