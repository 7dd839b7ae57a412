/** The PostgreSQL types that batches send, and the values that each takes. JSON is sent as its text. */
interface ValueOf {
  bigint: bigint | number;
  boolean: boolean;
  float8: number;
  int: number;
  json: string;
  jsonb: string;
  smallint: number;
  text: string;
  timestamptz: Date;
  uuid: string;
}

/** A column's PostgreSQL type, and how to read its value from an item. */
export type Column<Item> = {
  [Type in keyof ValueOf]: readonly [type: Type, read: (item: Item) => ValueOf[Type] | null];
}[keyof ValueOf];

/** Columns by name. Their order is the order of the parameters. */
export type Columns<Item> = Readonly<Record<string, Column<Item>>>;

/** The column that {@link Batch.byMerchant} groups by. */
const MERCHANT_COLUMN = 'merchant_id';

/**
 * Items as rows of a statement: one array per column, unnested by the server. So a statement has one text and one plan
 * for any number of items. Make a batch once, when its module loads; a statement then only fills the arrays.
 *
 * @example
 * const NEW_NOTES = batchOf<NewNote>({
 *   merchant_id: ['uuid', (note) => note.merchantId],
 *   body: ['text', (note) => note.body],
 * });
 * tx.query({
 *   name: 'notes.insert',
 *   text: `
 *     INSERT INTO notes (merchant_id, body, expires_at)
 *     SELECT i.*, clock_timestamp() + $${NEW_NOTES.next} * interval '1 millisecond'
 *     FROM ${NEW_NOTES.rows('i')}`,
 *   values: [...NEW_NOTES.values(notes), lifetimeMs],
 * });
 */
class Batch<Item> {
  /** The number of the first parameter after the batch. */
  readonly next: number;
  private readonly arrays: string;
  private readonly names: string;
  private readonly readers: readonly ((item: Item) => unknown)[];
  private readonly merchantOf: ((item: Item) => unknown) | undefined;

  constructor(columns: Columns<Item>, first: number) {
    const types = Object.values(columns).map(([type]) => type);
    this.arrays = types.map((type, index) => `$${first + index}::${type}[]`).join(', ');
    this.names = Object.keys(columns).join(', ');
    this.readers = Object.values(columns).map(([, read]) => read);
    this.merchantOf = columns[MERCHANT_COLUMN]?.[1];
    this.next = first + types.length;
  }

  /** The rows for a statement's FROM, under this alias. */
  rows(alias: string): string {
    return `unnest(${this.arrays}) AS ${alias}(${this.names})`;
  }

  /** The parameters of the batch, one array per column. */
  values(items: readonly Item[]): unknown[][] {
    const arrays: unknown[][] = [];
    for (const read of this.readers) {
      const array: unknown[] = [];
      for (const item of items) array.push(read(item));
      arrays.push(array);
    }
    return arrays;
  }

  /**
   * The items of each merchant, for statements that may touch one merchant's rows only. Merchants are in the order of
   * their ids and items keep their order, so that two transactions lock in the same order.
   * @throws Error for a batch without the column `merchant_id`.
   */
  byMerchant(items: readonly Item[]): Map<string, Item[]> {
    const { merchantOf } = this;
    if (merchantOf === undefined) throw new Error(`the batch has no ${MERCHANT_COLUMN}: (${this.names})`);
    const groups = Map.groupBy(items, (item) => String(merchantOf(item)));
    return new Map([...groups].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}

/** @param first the number of the batch's first parameter, where others come before it. */
export function batchOf<Item>(columns: Columns<Item>, first = 1): Batch<Item> {
  return new Batch(columns, first);
}
