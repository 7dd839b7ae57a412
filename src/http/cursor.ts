import { validate, version } from 'uuid';
import { RefusedError } from '../domain/errors.js';

/** A list's position: the id of the last item that was seen, opaque to clients so that it may change. */
export function readCursor(cursor: string | undefined): string | undefined {
  return decodeCursor(cursor, (id) => (validate(id) && version(id) === 7 ? id : undefined));
}

/** A position that is more than an id. `parse` says undefined for what no page can have ended with. */
export function decodeCursor<Place>(
  cursor: string | undefined,
  parse: (text: string) => Place | undefined,
): Place | undefined {
  if (cursor === undefined) return undefined;
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  const place = writeCursor(text) === cursor ? parse(text) : undefined;
  if (place !== undefined) return place;
  throw new RefusedError({
    code: 'validation_failed',
    errors: [{ field: 'cursor', message: 'must be the next_cursor of a page before' }],
  });
}

export function writeCursor(id: string): string {
  return Buffer.from(id, 'latin1').toString('base64url');
}

/** A page of `limit` items out of up to one more, which only tells that there is a next page. */
export function pageOf<Item>(
  items: Item[],
  limit: number,
  idOf: (item: Item) => string,
): { data: Item[]; next_cursor: string | null } {
  const data = items.slice(0, limit);
  const last = data.at(-1);
  return { data, next_cursor: items.length > limit && last !== undefined ? writeCursor(idOf(last)) : null };
}
