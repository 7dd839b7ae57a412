import { hash, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 32 characters of base 62 are 190 bits. */
const SECRET_LENGTH = 32;
/** As many digits of base 62 as the largest CRC-32 needs. */
const CHECKSUM_LENGTH = 6;
/** `hpx_live_` and four characters of the secret, so that a person can tell keys apart; 166 bits stay unknown. */
const SHOWN_LENGTH = 13;

interface NewApiKey {
  /** The key itself. We do not store it, so it is shown only once. */
  apiKey: string;
  keyHash: Buffer;
  keyPrefix: string;
}

/**
 * Makes a key such as `hpx_live_` + 32 random characters + 6 of checksum. If someone finds the key in a log or a
 * repository, the prefix says what it is and where it was made. With the checksum, a secret scanner can distinguish a
 * key from text that only looks like one. We check neither when a key is used: only the database decides.
 */
export function createApiKey(sandbox: boolean): NewApiKey {
  const secret = Array.from({ length: SECRET_LENGTH }, () => BASE62[randomInt(BASE62.length)]).join('');
  const body = `${sandbox ? 'hpx_test_' : 'hpx_live_'}${secret}`;
  const apiKey = body + checksum(body);
  return { apiKey, keyHash: hashApiKey(apiKey), keyPrefix: apiKey.slice(0, SHOWN_LENGTH) };
}

/** We store only this hash of an API key. A key is long and random, so a plain hash cannot be reversed by search. */
export function hashApiKey(apiKey: string): Buffer {
  return hash('sha256', apiKey, 'buffer');
}

/** The CRC-32 of all the key's other characters, in base 62. */
export function checksum(body: string): string {
  let rest = crc32(body);
  let digits = '';
  for (let place = 0; place < CHECKSUM_LENGTH; place += 1) {
    digits = BASE62[rest % BASE62.length] + digits;
    rest = Math.floor(rest / BASE62.length);
  }
  return digits;
}
