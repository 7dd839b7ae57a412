import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { DeclineCode } from '../../domain/errors.js';
import type { PaymentFailure } from '../../domain/payment.js';

/** How long a process waits for another one that is writing. */
const BUSY_TIMEOUT_MS = 2_000;
/** Effects per read, so that charges get their turn while many effects are listed. */
const PAGE_SIZE = 1_000;

export type SandboxEffectKind = 'charge' | 'authorization' | 'capture' | 'void' | 'refund';

/** A call to the sandbox provider, and once approved, something that happened to money. */
export interface SandboxEffect {
  gatewayKey: string;
  kind: SandboxEffectKind;
  /** The caller's ids of the payment and the refund, if it sent any. */
  transactionId: string | null;
  refundId: string | null;
  /** The charge that a capture, void or refund belongs to. */
  chargeReference: string | null;
  amountMinor: bigint;
  currency: string;
  /** Decides how the sandbox behaves. A later effect has its charge's payment method. */
  paymentMethod: string;
}

/** A call with a final answer, under the provider's own id. */
export interface RecordedCall extends SandboxEffect {
  reference: string;
  /** Its place in the books: later calls have higher ones. */
  sequence: number;
  /** The key of the charge that it belongs to, which may be its own. Null if that is not in these books. */
  chargeKey: string | null;
  failure: PaymentFailure | null;
  at: Date;
}

/** A payment by the key and the references of its charges, and by the id that its caller may have sent. */
interface PaymentInBooks {
  chargeKey: string | null;
  chargeReferences: readonly string[];
  transactionId: string | null;
}

/** When an answered call is notified, and how often. */
export interface NotificationPlan {
  dueAtMs: number;
  copies: number;
}

export interface DueNotification {
  call: RecordedCall;
  triesBefore: number;
}

/** `reused`: the key has answered another request. `closed`: it was said to be absent, and stays so. */
type Recorded =
  | { kind: 'recorded'; isNew: boolean; reference: string; failure: PaymentFailure | null }
  | { kind: 'reused' }
  | { kind: 'closed' };

/** In the column of a payment's id, which may not be null in older files. */
const NO_ID = '';

type Row = Record<string, string | number | bigint | null | Uint8Array>;

/**
 * The sandbox provider's own books: a file that survives the death of any process that writes it, shared by all
 * processes on one data folder, and never part of the service's transactions. One row per key: approved, declined or
 * closed. So whatever happens to a key first is all that ever happens to it.
 */
export class SandboxBooks {
  private readonly db: DatabaseSync;
  private readonly insertCall: StatementSync;
  private readonly closeKey: StatementSync;
  private readonly selectByKey: StatementSync;
  private readonly selectBySequence: StatementSync;
  private readonly countTry: StatementSync;
  /** Every reference begins with it, so that a payment from other books is never mistaken for one of these. */
  private readonly referencePrefix: string;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    // Not synced to disk: the books need to outlive a process, not the machine.
    this.db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = OFF;
      CREATE TABLE IF NOT EXISTS books (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);
      INSERT OR IGNORE INTO books VALUES (1, lower(hex(randomblob(4))));
      CREATE TABLE IF NOT EXISTS calls (
        sequence INTEGER PRIMARY KEY, idempotency_key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('approved', 'declined', 'closed')),
        failure_code TEXT, failure_message TEXT, transaction_id TEXT NOT NULL, refund_id TEXT, charge_reference TEXT,
        amount INTEGER NOT NULL, currency TEXT NOT NULL, payment_method TEXT NOT NULL, at_ms INTEGER NOT NULL,
        notify_at_ms INTEGER, notify_copies INTEGER NOT NULL DEFAULT 0, notify_tries INTEGER NOT NULL DEFAULT 0);
      CREATE INDEX IF NOT EXISTS calls_to_notify ON calls (notify_at_ms) WHERE notify_at_ms IS NOT NULL;
      DROP INDEX IF EXISTS calls_of_transaction;
      CREATE INDEX IF NOT EXISTS calls_of_known_transaction ON calls (transaction_id) WHERE transaction_id <> '';
      CREATE INDEX IF NOT EXISTS calls_of_charge ON calls (charge_reference) WHERE charge_reference IS NOT NULL;
      CREATE TABLE IF NOT EXISTS tries (
        idempotency_key TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID`);
    this.referencePrefix = `sbx_${String(this.db.prepare('SELECT id FROM books').get()?.['id'])}_`;
    this.insertCall = this.db.prepare(`
      INSERT INTO calls (idempotency_key, kind, outcome, failure_code, failure_message, transaction_id, refund_id,
        charge_reference, amount, currency, payment_method, at_ms, notify_at_ms, notify_copies)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING`);
    this.closeKey = this.db.prepare(`
      INSERT INTO calls (idempotency_key, kind, outcome, transaction_id, amount, currency, payment_method, at_ms)
      VALUES (?, '', 'closed', '${NO_ID}', 0, '', '', ?) ON CONFLICT (idempotency_key) DO NOTHING`);
    this.selectByKey = this.db.prepare('SELECT * FROM calls WHERE idempotency_key = ?');
    this.selectBySequence = this.db.prepare(`SELECT * FROM calls WHERE sequence = ? AND outcome <> 'closed'`);
    this.countTry = this.db.prepare(`
      INSERT INTO tries (idempotency_key, count) VALUES (?, 1)
      ON CONFLICT (idempotency_key) DO UPDATE SET count = count + 1 RETURNING count`);
  }

  /**
   * Records the final answer to a call. If its key already has an answer, returns that instead. It is one atomic
   * statement: of any number of processes that record a key, only one does.
   */
  record(call: SandboxEffect, failure: PaymentFailure | null, plan: NotificationPlan | null): Recorded {
    const { changes, lastInsertRowid } = this.insertCall.run(
      call.gatewayKey,
      call.kind,
      failure === null ? 'approved' : 'declined',
      failure?.code ?? null,
      failure?.message ?? null,
      call.transactionId ?? NO_ID,
      call.refundId,
      call.chargeReference,
      call.amountMinor,
      call.currency,
      call.paymentMethod,
      Date.now(),
      plan?.dueAtMs ?? null,
      plan?.copies ?? 0,
    );
    if (Number(changes) === 1) {
      return {
        kind: 'recorded',
        isNew: true,
        reference: this.referencePrefix + String(lastInsertRowid),
        failure,
      };
    }
    const first = this.selectByKey.get(call.gatewayKey) as Row;
    if (first['outcome'] === 'closed') return { kind: 'closed' };
    const recorded = this.toCall(first);
    if (!isSameRequest(call, recorded)) return { kind: 'reused' };
    return { kind: 'recorded', isNew: false, reference: recorded.reference, failure: recorded.failure };
  }

  /** What was answered under a key. Null if nothing has been answered so far. */
  findByKey(gatewayKey: string): RecordedCall | null {
    const row = this.selectByKey.get(gatewayKey);
    return row === undefined || row['outcome'] === 'closed' ? null : this.toCall(row);
  }

  /** What was answered under one of the provider's own ids. */
  find(reference: string): RecordedCall | null {
    const sequence = this.sequenceOf(reference);
    const row = sequence === null ? undefined : this.selectBySequence.get(sequence);
    return row === undefined ? null : this.toCall(row);
  }

  /** Every answered call about one payment, oldest first. */
  findByPayment({ chargeKey, chargeReferences, transactionId }: PaymentInBooks): RecordedCall[] {
    const charge = chargeKey === null ? null : this.findByKey(chargeKey);
    const references = [...new Set([...chargeReferences, charge?.reference ?? []].flat())];
    const sequences = references.flatMap((reference) => this.sequenceOf(reference) ?? []);
    return this.db
      .prepare(
        `SELECT * FROM calls
         WHERE outcome <> 'closed' AND (
           sequence IN (SELECT value FROM json_each(?)) OR charge_reference IN (SELECT value FROM json_each(?))
           OR transaction_id = ? AND transaction_id <> '')
         ORDER BY sequence`,
      )
      .all(JSON.stringify(sequences), JSON.stringify(references), transactionId)
      .map((row) => this.toCall(row));
  }

  /** What was answered under a key. Null if nothing was, and from now on nothing ever will be. */
  findOrClose(gatewayKey: string): RecordedCall | null {
    const found = this.findByKey(gatewayKey);
    if (found !== null) return found;
    this.closeKey.run(gatewayKey, Date.now());
    // Another process may have been first with an answer.
    return this.findByKey(gatewayKey);
  }

  /** The number of this try under a key, from 1. */
  nextTry(gatewayKey: string): number {
    return Number(this.countTry.get(gatewayKey)?.['count']);
  }

  /** Every effect, oldest first. */
  effects(): RecordedCall[] {
    return [...this.pages(this.end())].flat();
  }

  /** Effects in the order in which they happened, page by page, up to `end`. */
  *pages(end: number, after = 0): Generator<RecordedCall[]> {
    for (let last = after; last < end;) {
      const page = this.page(last, PAGE_SIZE);
      const inside = page.filter((effect) => effect.sequence <= end);
      if (inside.length > 0) yield inside;
      if (inside.length < PAGE_SIZE) return;
      last = inside.at(-1)?.sequence ?? end;
    }
  }

  /** At most `limit` effects after a place in the books. */
  page(after: number, limit: number): RecordedCall[] {
    return this.db
      .prepare(`SELECT * FROM calls WHERE sequence > ? AND outcome = 'approved' ORDER BY sequence LIMIT ?`)
      .all(after, limit)
      .map((row) => this.toCall(row));
  }

  /** The place of the last call. */
  end(): number {
    return Number(this.db.prepare('SELECT max(sequence) AS last FROM calls').get()?.['last'] ?? 0);
  }

  /** Takes notifications that are due. If the process dies with them, they are due again at `takenUntilMs`. */
  takeDue(nowMs: number, takenUntilMs: number, limit: number): DueNotification[] {
    return this.db
      .prepare(
        `UPDATE calls SET notify_at_ms = ?
         WHERE sequence IN (
           SELECT sequence FROM calls WHERE notify_at_ms <= ? ORDER BY notify_at_ms, sequence LIMIT ?)
         RETURNING *`,
      )
      .all(takenUntilMs, nowMs, limit)
      .map((row) => ({ call: this.toCall(row), triesBefore: Number(row['notify_tries']) }))
      .toSorted((a, b) => a.call.sequence - b.call.sequence);
  }

  /** One copy has arrived. @returns how many remain to be sent. */
  delivered(sequence: number, nowMs: number): number {
    const row = this.db
      .prepare(
        `UPDATE calls SET notify_copies = notify_copies - 1, notify_tries = 0,
           notify_at_ms = CASE WHEN notify_copies > 1 THEN ? END
         WHERE sequence = ? RETURNING notify_copies`,
      )
      .get(nowMs, sequence);
    return Number(row?.['notify_copies'] ?? 0);
  }

  /** A delivery failed. Tries again at this time, or never for null. */
  postpone(sequence: number, dueAtMs: number | null): void {
    this.db
      .prepare('UPDATE calls SET notify_tries = notify_tries + 1, notify_at_ms = ? WHERE sequence = ?')
      .run(dueAtMs, sequence);
  }

  /** Makes an unsent notification due now. */
  hasten(gatewayKey: string, nowMs: number): void {
    this.db
      .prepare(
        `UPDATE calls SET notify_at_ms = min(notify_at_ms, ?)
         WHERE idempotency_key = ? AND notify_at_ms IS NOT NULL`,
      )
      .run(nowMs, gatewayKey);
  }

  /** When the next notification is due, or null while there is none. */
  nextDueAtMs(): number | null {
    const row = this.db
      .prepare('SELECT min(notify_at_ms) AS due FROM calls WHERE notify_at_ms IS NOT NULL')
      .get();
    return row?.['due'] == null ? null : Number(row['due']);
  }

  close(): void {
    if (this.db.isOpen) this.db.close();
  }

  private keyOf(reference: string): string | null {
    const sequence = this.sequenceOf(reference);
    const row = sequence === null ? undefined : this.selectBySequence.get(sequence);
    return row === undefined ? null : String(row['idempotency_key']);
  }

  private sequenceOf(reference: string): number | null {
    if (!reference.startsWith(this.referencePrefix)) return null;
    const digits = reference.slice(this.referencePrefix.length);
    return /^[1-9]\d{0,14}$/.test(digits) ? Number(digits) : null;
  }

  private toCall(row: Row): RecordedCall {
    const chargeReference = row['charge_reference'] as string | null;
    return {
      gatewayKey: String(row['idempotency_key']),
      kind: row['kind'] as SandboxEffectKind,
      reference: this.referencePrefix + String(row['sequence']),
      sequence: Number(row['sequence']),
      transactionId: row['transaction_id'] === NO_ID ? null : String(row['transaction_id']),
      refundId: row['refund_id'] as string | null,
      chargeReference,
      chargeKey: chargeReference === null ? String(row['idempotency_key']) : this.keyOf(chargeReference),
      amountMinor: BigInt(row['amount'] as number),
      currency: String(row['currency']),
      paymentMethod: String(row['payment_method']),
      failure:
        row['failure_code'] === null
          ? null
          : { code: row['failure_code'] as DeclineCode, message: String(row['failure_message']) },
      at: new Date(Number(row['at_ms'])),
    };
  }
}

/** A key stands for one request: everything that the sandbox acts on has to be equal. */
function isSameRequest(a: SandboxEffect, b: SandboxEffect): boolean {
  return (
    a.kind === b.kind &&
    a.transactionId === b.transactionId &&
    a.refundId === b.refundId &&
    a.chargeReference === b.chargeReference &&
    a.amountMinor === b.amountMinor &&
    a.currency === b.currency &&
    a.paymentMethod === b.paymentMethod
  );
}
