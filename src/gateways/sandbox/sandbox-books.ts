import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { uuidv7 } from '../../ids/uuidv7.js';
import type { ChargeRequest } from '../gateway.js';

/** How long a process waits for another that is writing. */
const BUSY_TIMEOUT_MS = 2_000;

/** Something that happened to money, as the sandbox provider sees it. */
export interface SandboxEffect {
  idempotencyKey: string;
  kind: 'charge' | 'authorization';
  reference: string;
  transactionId: string;
  amountMinor: bigint;
  currency: string;
}

/**
 * The sandbox provider's own books: a file that survives the death of any process that writes it, shared by all
 * processes on one data folder, and never part of the service's transactions. Acts once a key, as providers do.
 */
export class SandboxBooks {
  private readonly db: DatabaseSync;
  private readonly insertEffect: StatementSync;
  private readonly selectEffect: StatementSync;
  private readonly countTry: StatementSync;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    // Not synced to disk: the books need to outlive a process, not the machine.
    this.db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = OFF;
      CREATE TABLE IF NOT EXISTS effects (
        idempotency_key TEXT PRIMARY KEY, kind TEXT NOT NULL, reference TEXT NOT NULL, transaction_id TEXT NOT NULL,
        amount INTEGER NOT NULL, currency TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS tries (
        idempotency_key TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID`);
    this.insertEffect = this.db.prepare(`
      INSERT INTO effects (idempotency_key, kind, reference, transaction_id, amount, currency, at)
      VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`);
    this.selectEffect = this.db.prepare('SELECT reference FROM effects WHERE idempotency_key = ?');
    this.countTry = this.db.prepare(`
      INSERT INTO tries (idempotency_key, count) VALUES (?, 1)
      ON CONFLICT (idempotency_key) DO UPDATE SET count = count + 1 RETURNING count`);
  }

  /** Records the effect of a charge, unless its key has had one, and returns the provider's reference either way. */
  record(request: ChargeRequest): string {
    const reference = `sbx_${uuidv7()}`;
    const kind = request.captureMethod === 'manual' ? 'authorization' : 'charge';
    const { changes } = this.insertEffect.run(
      request.idempotencyKey,
      kind,
      reference,
      request.transactionId,
      request.amountMinor,
      request.currency,
      new Date().toISOString(),
    );
    return Number(changes) === 1 ? reference : (this.referenceOf(request.idempotencyKey) ?? reference);
  }

  referenceOf(idempotencyKey: string): string | null {
    const row = this.selectEffect.get(idempotencyKey);
    return row === undefined ? null : String(row['reference']);
  }

  /** The number of this try of a key, from 1. */
  nextTry(idempotencyKey: string): number {
    return Number(this.countTry.get(idempotencyKey)?.['count']);
  }

  /** Every effect, oldest first. */
  effects(): SandboxEffect[] {
    const rows = this.db.prepare('SELECT * FROM effects ORDER BY at').all();
    return rows.map((row) => ({
      idempotencyKey: String(row['idempotency_key']),
      kind: row['kind'] as SandboxEffect['kind'],
      reference: String(row['reference']),
      transactionId: String(row['transaction_id']),
      amountMinor: BigInt(row['amount'] as number),
      currency: String(row['currency']),
    }));
  }

  close(): void {
    this.db.close();
  }
}
