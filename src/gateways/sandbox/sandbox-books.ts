import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { uuidv7 } from '../../ids/uuidv7.js';

/** How long a process waits for another that is writing. */
const BUSY_TIMEOUT_MS = 2_000;

export type SandboxEffectKind = 'charge' | 'authorization' | 'capture' | 'void' | 'refund';

/** Something that happened to money, as the sandbox provider sees it. */
export interface SandboxEffect {
  idempotencyKey: string;
  kind: SandboxEffectKind;
  transactionId: string;
  amountMinor: bigint;
  currency: string;
  /** What decides how the sandbox behaves; of a later effect, that of its charge. */
  paymentMethod: string;
}

/** An effect under the provider's own id. */
export interface RecordedEffect extends SandboxEffect {
  reference: string;
}

/**
 * The sandbox provider's own books: a file that survives the death of any process that writes it, shared by all
 * processes on one data folder, and never part of the service's transactions. Acts once a key, as providers do.
 */
export class SandboxBooks {
  private readonly db: DatabaseSync;
  private readonly insertEffect: StatementSync;
  private readonly selectByKey: StatementSync;
  private readonly selectByReference: StatementSync;
  private readonly countTry: StatementSync;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    // Not synced to disk: the books need to outlive a process, not the machine.
    this.db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = OFF;
      CREATE TABLE IF NOT EXISTS effects (
        idempotency_key TEXT PRIMARY KEY, kind TEXT NOT NULL, reference TEXT NOT NULL UNIQUE,
        transaction_id TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, payment_method TEXT NOT NULL,
        at TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS tries (
        idempotency_key TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID`);
    this.insertEffect = this.db.prepare(`
      INSERT INTO effects (idempotency_key, kind, reference, transaction_id, amount, currency, payment_method, at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING`);
    this.selectByKey = this.db.prepare('SELECT * FROM effects WHERE idempotency_key = ?');
    this.selectByReference = this.db.prepare('SELECT * FROM effects WHERE reference = ?');
    this.countTry = this.db.prepare(`
      INSERT INTO tries (idempotency_key, count) VALUES (?, 1)
      ON CONFLICT (idempotency_key) DO UPDATE SET count = count + 1 RETURNING count`);
  }

  /** Records an effect, unless its key has had one, and returns the provider's reference either way. */
  record(effect: SandboxEffect): string {
    const reference = `sbx_${uuidv7()}`;
    const { changes } = this.insertEffect.run(
      effect.idempotencyKey,
      effect.kind,
      reference,
      effect.transactionId,
      effect.amountMinor,
      effect.currency,
      effect.paymentMethod,
      new Date().toISOString(),
    );
    if (Number(changes) === 1) return reference;
    return String(this.selectByKey.get(effect.idempotencyKey)?.['reference']);
  }

  /** What the provider knows under one of its own ids. */
  find(reference: string): RecordedEffect | null {
    const row = this.selectByReference.get(reference);
    return row === undefined ? null : toEffect(row);
  }

  /** The number of this try of a key, from 1. */
  nextTry(idempotencyKey: string): number {
    return Number(this.countTry.get(idempotencyKey)?.['count']);
  }

  /** Every effect, oldest first. */
  effects(): RecordedEffect[] {
    return this.db.prepare('SELECT * FROM effects ORDER BY at, reference').all().map(toEffect);
  }

  close(): void {
    this.db.close();
  }
}

function toEffect(row: Record<string, unknown>): RecordedEffect {
  return {
    idempotencyKey: String(row['idempotency_key']),
    kind: row['kind'] as SandboxEffectKind,
    reference: String(row['reference']),
    transactionId: String(row['transaction_id']),
    amountMinor: BigInt(row['amount'] as number),
    currency: String(row['currency']),
    paymentMethod: String(row['payment_method']),
  };
}
