import { Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { batchOf } from '../database/batch.js';
import type { Scope } from './scopes.js';

/** A valid key, with what the guard needs. */
export interface ApiKey {
  apiKeyId: string;
  merchantId: string;
  sandboxOnly: boolean;
  scopes: readonly Scope[];
  /** When it was looked up, by the database's clock. */
  seenAt: Date;
}

/** A key as its owner may see it. */
export interface ApiKeyRecord {
  apiKeyId: string;
  merchantId: string;
  keyPrefix: string;
  scopes: Scope[];
  status: 'active' | 'expired' | 'revoked';
  sandboxOnly: boolean;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
  lastUsedAt: Date | null;
  replacedBy: string | null;
}

export interface NewApiKeyRow {
  apiKeyId: string;
  merchantId: string;
  keyHash: Buffer;
  keyPrefix: string;
  scopes: readonly Scope[];
  /** Counted from now; null for a key that does not expire. */
  lifetimeMs: number | null;
}

export interface Merchant {
  merchantId: string;
  name: string;
  createdAt: Date;
}

interface ApiKeyUse {
  apiKeyId: string;
  usedAt: Date;
}

const USES = batchOf<ApiKeyUse>({
  api_key_id: ['uuid', (use) => use.apiKeyId],
  used_at: ['timestamptz', (use) => use.usedAt],
});

const RECORD = `
  api_key_id AS "apiKeyId", merchant_id AS "merchantId", key_prefix AS "keyPrefix", scopes,
  CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END
    AS status,
  sandbox_only AS "sandboxOnly", created_at AS "createdAt", expires_at AS "expiresAt", revoked_at AS "revokedAt",
  last_used_at AS "lastUsedAt", replaced_by AS "replacedBy"`;

@Injectable()
export class ApiKeysStore {
  constructor(private readonly dataSource: DataSource) {}

  /** The key with this hash, unless it has expired or was revoked. */
  async findValid(keyHash: Buffer): Promise<ApiKey | null> {
    const rows = await this.dataSource.query<ApiKey[]>(
      `SELECT api_key_id AS "apiKeyId", merchant_id AS "merchantId", sandbox_only AS "sandboxOnly", scopes,
              clock_timestamp() AS "seenAt"
         FROM api_keys
        WHERE key_hash = $1
          AND revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > clock_timestamp())`,
      [keyHash],
    );
    return rows[0] ?? null;
  }

  /**
   * Writes when keys were last used, each key at most once per `intervalMs`, however many processes use it.
   * @param uses ordered by key, so that two processes never deadlock.
   */
  async updateLastUsed(uses: readonly ApiKeyUse[], intervalMs: number): Promise<void> {
    await this.dataSource.query(
      `UPDATE api_keys k SET last_used_at = u.used_at
         FROM ${USES.rows('u')}
        WHERE k.api_key_id = u.api_key_id
          AND (k.last_used_at IS NULL OR k.last_used_at <= u.used_at - $${USES.next} * interval '1 millisecond')`,
      [...USES.values(uses), intervalMs],
    );
  }

  async insertMerchant(db: EntityManager, merchant: { merchantId: string; name: string }): Promise<void> {
    await db.query('INSERT INTO merchants (merchant_id, name) VALUES ($1, $2)', [
      merchant.merchantId,
      merchant.name,
    ]);
  }

  async upsertMerchant(db: EntityManager, merchant: { merchantId: string; name: string }): Promise<void> {
    await db.query(
      `INSERT INTO merchants (merchant_id, name) VALUES ($1, $2)
       ON CONFLICT (merchant_id) DO UPDATE SET name = excluded.name WHERE merchants.name <> excluded.name`,
      [merchant.merchantId, merchant.name],
    );
  }

  async merchantExists(db: EntityManager, merchantId: string): Promise<boolean> {
    const rows = await db.query<unknown[]>('SELECT FROM merchants WHERE merchant_id = $1', [merchantId]);
    return rows.length > 0;
  }

  /** All merchants, oldest first. */
  listMerchants(): Promise<Merchant[]> {
    return this.dataSource.query<Merchant[]>(
      `SELECT merchant_id AS "merchantId", name, created_at AS "createdAt"
         FROM merchants ORDER BY created_at, merchant_id`,
    );
  }

  async insert(db: EntityManager, key: NewApiKeyRow): Promise<ApiKeyRecord> {
    const rows = await db.query<ApiKeyRecord[]>(
      `INSERT INTO api_keys (api_key_id, merchant_id, key_hash, key_prefix, scopes, expires_at)
       VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 millisecond')
       RETURNING ${RECORD}`,
      [key.apiKeyId, key.merchantId, key.keyHash, key.keyPrefix, key.scopes, key.lifetimeMs],
    );
    return rows[0] as ApiKeyRecord;
  }

  /** The keys of one merchant, or of all, oldest first. */
  list(merchantId: string | null): Promise<ApiKeyRecord[]> {
    return this.dataSource.query<ApiKeyRecord[]>(
      `SELECT ${RECORD} FROM api_keys
        WHERE $1::uuid IS NULL OR merchant_id = $1
        ORDER BY merchant_id, api_key_id`,
      [merchantId],
    );
  }

  /** Finds a key and locks it, so that no one else changes it until this transaction ends. */
  async lock(db: EntityManager, apiKeyId: string): Promise<ApiKeyRecord | null> {
    const rows = await db.query<ApiKeyRecord[]>(
      `SELECT ${RECORD} FROM api_keys WHERE api_key_id = $1 FOR UPDATE`,
      [apiKeyId],
    );
    return rows[0] ?? null;
  }

  /** The key expires after the overlap, or at its own expiry if that comes first. Returns that time. */
  async replace(db: EntityManager, apiKeyId: string, successorId: string, overlapMs: number): Promise<Date> {
    const [[row]] = await db.query<[[{ expiresAt: Date }]]>(
      `UPDATE api_keys
          SET replaced_by = $2,
              expires_at = least(expires_at, clock_timestamp() + $3 * interval '1 millisecond')
        WHERE api_key_id = $1
        RETURNING expires_at AS "expiresAt"`,
      [apiKeyId, successorId, overlapMs],
    );
    return row.expiresAt;
  }

  /** Returns when the key was revoked. If it already was, that is the time of the first revocation. */
  async revoke(db: EntityManager, apiKeyId: string): Promise<Date> {
    const [[row]] = await db.query<[[{ revokedAt: Date }]]>(
      `UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp())
        WHERE api_key_id = $1
        RETURNING revoked_at AS "revokedAt"`,
      [apiKeyId],
    );
    return row.revokedAt;
  }

  /** Removes all other sandbox keys. Otherwise the old key would still work after `SANDBOX_API_KEY` changes. */
  async deleteOtherSandboxKeys(db: EntityManager, keyHash: Buffer): Promise<void> {
    await db.query('DELETE FROM api_keys WHERE sandbox_only AND key_hash <> $1', [keyHash]);
  }

  /** Leaves an existing key as it is: it may be one that is not the sandbox's. */
  async insertSandboxKey(db: EntityManager, key: Omit<NewApiKeyRow, 'lifetimeMs'>): Promise<void> {
    await db.query(
      `INSERT INTO api_keys (api_key_id, merchant_id, key_hash, key_prefix, scopes, sandbox_only)
       VALUES ($1, $2, $3, $4, $5, true)
       ON CONFLICT (key_hash) DO NOTHING`,
      [key.apiKeyId, key.merchantId, key.keyHash, key.keyPrefix, key.scopes],
    );
  }
}
