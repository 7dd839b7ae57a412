/** A UUIDv8 (RFC 9562 section 5.8) that carries the first 122 bits of a hash. */
export function uuidv8(hash: Buffer): string {
  const bytes = Buffer.from(hash.subarray(0, 16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** True for an id that {@link uuidv8} made: the version is the first digit of the third group. */
export function isUuidv8(id: string): boolean {
  return id[14] === '8';
}
