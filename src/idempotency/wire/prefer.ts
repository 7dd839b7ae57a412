/** The longest wait that a client may ask for. Beyond it, proxies give up before we answer. */
export const MAX_WAIT_SECONDS = 30;

const WAIT = /^wait\s*=\s*"?(\d{1,9})"?$/i;

/**
 * The seconds of `Prefer: wait=N` (RFC 7240 section 4.3), at most {@link MAX_WAIT_SECONDS}; null if there is none. A
 * preference is only a wish, so an unreadable one is ignored. The first of several counts (section 2).
 */
export function readPreferWait(header: string | string[] | undefined): number | null {
  if (header === undefined) return null;
  for (const preference of [header].flat().join(',').split(',')) {
    // A preference's parameters follow a semicolon; `wait` has none.
    const seconds = WAIT.exec(preference.split(';', 1)[0]?.trim() ?? '')?.[1];
    if (seconds !== undefined) return Math.min(Number(seconds), MAX_WAIT_SECONDS);
  }
  return null;
}
