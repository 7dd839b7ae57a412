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
  /** The key itself, which nobody sees again. */
  apiKey: string;
  keyHash: Buffer;
  keyPrefix: string;
}

/**
 * Makes a key such as `hpx_live_` + 32 random characters + 6 of checksum. The prefix says what it is to whoever finds
 * it in a log or a repository, and where it was made; the checksum lets a secret scanner tell a key from what only
 * looks like one. Neither is looked at when a key is used: the database alone decides.
 */
export function createApiKey(sandbox: boolean): NewApiKey {
  const secret = Array.from({ length: SECRET_LENGTH }, () => BASE62[randomInt(BASE62.length)]).join('');
  const body = `${sandbox ? 'hpx_test_' : 'hpx_live_'}${secret}`;
  const apiKey = body + checksum(body);
  return { apiKey, keyHash: hashApiKey(apiKey), keyPrefix: apiKey.slice(0, SHOWN_LENGTH) };
}

/** What is kept of an API key. A key is long and random, so a plain hash cannot be searched backwards. */
export function hashApiKey(apiKey: string): Buffer {
  return hash('sha256', apiKey, 'buffer');
}

/** The CRC-32 of a key's other characters, as digits of base 62. */
export function checksum(body: string): string {
  let rest = crc32(body);
  let digits = '';
  for (let place = 0; place < CHECKSUM_LENGTH; place += 1) {
    digits = BASE62[rest % BASE62.length] + digits;
    rest = Math.floor(rest / BASE62.length);
  }
  return digits;
}
