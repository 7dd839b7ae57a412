import { validate, version } from 'uuid';
import { RefusedError } from '../domain/errors.js';

/** A position in a list: the id of the last item on the page before. Opaque to clients, so that we may change it. */
export function readCursor(cursor: string | undefined): string | undefined {
  return decodeCursor(cursor, (id) => (validate(id) && version(id) === 7 ? id : undefined));
}

/** A position that is more than an id. `parse` returns undefined if no page can have ended there. */
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

/** Cuts a page out of up to `limit + 1` items. The extra item only shows that there is a next page. */
export function pageOf<Item>(
  items: Item[],
  limit: number,
  idOf: (item: Item) => string,
): { data: Item[]; next_cursor: string | null } {
  const data = items.slice(0, limit);
  const last = data.at(-1);
  return { data, next_cursor: items.length > limit && last !== undefined ? writeCursor(idOf(last)) : null };
}
