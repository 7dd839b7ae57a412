import { hash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';

export interface ApiKey {
  apiKeyId: string;
  merchantId: string;
  sandboxOnly: boolean;
}

/** What is kept of an API key. A key is long and random, so a plain hash cannot be searched backwards. */
export function hashApiKey(apiKey: string): Buffer {
  return hash('sha256', apiKey, 'buffer');
}

@Injectable()
export class ApiKeysStore {
  constructor(private readonly dataSource: DataSource) {}

  /** The key with this hash, unless it has expired or was revoked. */
  async findValid(keyHash: Buffer): Promise<ApiKey | null> {
    const rows = await this.dataSource.query<ApiKey[]>(
      `SELECT api_key_id AS "apiKeyId", merchant_id AS "merchantId", sandbox_only AS "sandboxOnly"
         FROM api_keys
        WHERE key_hash = $1
          AND revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > clock_timestamp())`,
      [keyHash],
    );
    return rows[0] ?? null;
  }

  async upsertMerchant(db: EntityManager, merchant: { merchantId: string; name: string }): Promise<void> {
    await db.query(
      `INSERT INTO merchants (merchant_id, name) VALUES ($1, $2)
       ON CONFLICT (merchant_id) DO UPDATE SET name = excluded.name WHERE merchants.name <> excluded.name`,
      [merchant.merchantId, merchant.name],
    );
  }

  /** Removes every sandbox key but this one, which a changed `SANDBOX_API_KEY` would otherwise leave open. */
  async deleteOtherSandboxKeys(db: EntityManager, keyHash: Buffer): Promise<void> {
    await db.query('DELETE FROM api_keys WHERE sandbox_only AND key_hash <> $1', [keyHash]);
  }

  /** A key that exists already is left as it is, above all one that is not a sandbox key. */
  async insertSandboxKey(
    db: EntityManager,
    key: { apiKeyId: string; merchantId: string; keyHash: Buffer; keyPrefix: string },
  ): Promise<void> {
    await db.query(
      `INSERT INTO api_keys (api_key_id, merchant_id, key_hash, key_prefix, sandbox_only)
       VALUES ($1, $2, $3, $4, true)
       ON CONFLICT (key_hash) DO NOTHING`,
      [key.apiKeyId, key.merchantId, key.keyHash, key.keyPrefix],
    );
  }
}
