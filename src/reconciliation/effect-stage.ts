import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { EffectKind, GatewayEffect, PaymentInBooks } from '../gateways/gateway-books.js';

/** How much is kept in memory: about a hundred thousand effects. The rest is in the file. */
const CACHE_KIBIBYTES = 32 * 1_024;

interface Row {
  sequence: number;
  charge_key: string | null;
  transaction_id: string | null;
  kind: string;
  reference: string;
  charge_reference: string;
  refund_id: string | null;
  idempotency_key: string | null;
  amount: number | null;
  currency: string;
  at_ms: number;
}

/** What a payment of ours or an effect of theirs is found by. */
export type PaymentName = Pick<PaymentInBooks, 'chargeKey' | 'transactionId'>;

/**
 * The gateway's effects, stored by payment. The gateway lists them by time, and asking it for one payment at a time
 * would take a million requests. They are in a temporary file that SQLite removes by itself, so any number fits, and a
 * comparison writes nothing into the database that it compares.
 */
export class EffectStage {
  private readonly db: DatabaseSync;
  private readonly insert: StatementSync;
  private readonly selectOf: StatementSync;
  private readonly markSeen: StatementSync;
  private readonly selectUnseen: StatementSync;
  private staged = 0;

  constructor() {
    // An empty name means a temporary file, private to this connection.
    this.db = new DatabaseSync('');
    this.db.exec(`
      PRAGMA journal_mode = OFF;
      PRAGMA synchronous = OFF;
      PRAGMA cache_size = -${CACHE_KIBIBYTES};
      CREATE TABLE effects (
        sequence INTEGER PRIMARY KEY, charge_key TEXT, transaction_id TEXT, kind TEXT NOT NULL, reference TEXT NOT NULL,
        charge_reference TEXT NOT NULL, refund_id TEXT, idempotency_key TEXT, amount INTEGER, currency TEXT NOT NULL,
        at_ms INTEGER NOT NULL, seen INTEGER NOT NULL DEFAULT 0);
      CREATE INDEX effects_of_charge ON effects (charge_key) WHERE charge_key IS NOT NULL;
      CREATE INDEX effects_of_payment ON effects (transaction_id) WHERE transaction_id IS NOT NULL`);
    this.insert = this.db.prepare(`
      INSERT INTO effects (charge_key, transaction_id, kind, reference, charge_reference, refund_id, idempotency_key,
        amount, currency, at_ms)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.selectOf = this.db.prepare(
      `SELECT * FROM effects WHERE sequence IN (${OF_PAYMENTS}) ORDER BY sequence`,
    );
    this.markSeen = this.db.prepare(`UPDATE effects SET seen = 1 WHERE sequence IN (${OF_PAYMENTS})`);
    this.selectUnseen = this.db.prepare(`
      SELECT * FROM effects
      WHERE sequence > ? AND seen = 0 ORDER BY sequence LIMIT ?`);
  }

  get size(): number {
    return this.staged;
  }

  add(effects: readonly GatewayEffect[]): void {
    this.db.exec('BEGIN');
    for (const effect of effects) {
      this.insert.run(
        effect.chargeKey,
        effect.transactionId,
        effect.kind,
        effect.reference,
        effect.chargeReference,
        effect.refundId,
        effect.gatewayKey,
        effect.amountMinor,
        effect.currency,
        effect.at.getTime(),
      );
    }
    this.db.exec('COMMIT');
    this.staged += effects.length;
  }

  /** The effects of some payments, which count as taken from now on. */
  take(payments: readonly PaymentName[]): GatewayEffect[] {
    const names = [
      JSON.stringify(payments.flatMap(({ chargeKey }) => chargeKey ?? [])),
      JSON.stringify(payments.flatMap(({ transactionId }) => transactionId ?? [])),
    ];
    const rows = this.selectOf.all(...names) as unknown as Row[];
    this.markSeen.run(...names);
    return rows.map(toEffect);
  }

  /**
   * What the effects that were not taken are found by, a page at a time. Effects may be taken during the walk. An
   * effect that has neither a key nor an id is none of ours, and stands for itself.
   */
  *untaken(pageSize: number): Generator<GatewayEffect[]> {
    for (let after = 0; ;) {
      const rows = this.selectUnseen.all(after, pageSize) as unknown as Row[];
      const last = rows.at(-1);
      if (last === undefined) return;
      after = last.sequence;
      yield rows.map(toEffect);
    }
  }

  close(): void {
    this.db.close();
  }
}

const OF_PAYMENTS = `
  SELECT sequence FROM effects WHERE charge_key IN (SELECT value FROM json_each(?))
  UNION
  SELECT sequence FROM effects WHERE transaction_id IN (SELECT value FROM json_each(?))`;

function toEffect(row: Row): GatewayEffect {
  return {
    kind: row.kind as EffectKind,
    reference: row.reference,
    chargeReference: row.charge_reference,
    chargeKey: row.charge_key,
    gatewayKey: row.idempotency_key,
    transactionId: row.transaction_id,
    refundId: row.refund_id,
    amountMinor: row.amount === null ? null : BigInt(row.amount),
    currency: row.currency,
    at: new Date(row.at_ms),
  };
}
