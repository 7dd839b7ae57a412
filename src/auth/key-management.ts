import { DataSource, type EntityManager } from 'typeorm';
import { uuidv7 } from '../ids/uuidv7.js';
import { createApiKey } from './api-key.js';
import { type ApiKeyRecord, ApiKeysStore, type NewApiKeyRow } from './api-keys.store.js';
import { KeyManagementError } from './key-management-error.js';
import { SCOPES, type Scope } from './scopes.js';

/** A key that was just made. `apiKey` is the key itself: it is shown now and never again. */
export interface IssuedKey extends ApiKeyRecord {
  apiKey: string;
}

interface RotatedKey extends IssuedKey {
  replaces: string;
  /** When the old key stops to work. */
  oldExpiresAt: Date;
}

/**
 * What an operator does with merchants and their keys. Every change reaches all processes at once, by the trigger on
 * `api_keys`.
 */
export class KeyManagement {
  private readonly apiKeys: ApiKeysStore;

  /** @param sandbox only for the prefix of new keys. */
  constructor(
    private readonly dataSource: DataSource,
    private readonly sandbox: boolean,
  ) {
    this.apiKeys = new ApiKeysStore(dataSource);
  }

  /** A merchant with its first key, which may do everything and does not expire. */
  createMerchant(name: string): Promise<IssuedKey> {
    return this.dataSource.transaction(async (db) => {
      const merchantId = uuidv7();
      await this.apiKeys.insertMerchant(db, { merchantId, name });
      return this.issue(db, { merchantId, scopes: SCOPES, lifetimeMs: null });
    });
  }

  listMerchants() {
    return this.apiKeys.listMerchants();
  }

  listKeys(merchantId: string | null): Promise<ApiKeyRecord[]> {
    return this.apiKeys.list(merchantId);
  }

  /** @throws KeyManagementError when there is no such merchant. */
  createKey(merchantId: string, scopes: readonly Scope[], lifetimeMs: number | null): Promise<IssuedKey> {
    return this.dataSource.transaction(async (db) => {
      if (!(await this.apiKeys.merchantExists(db, merchantId))) {
        throw new KeyManagementError(`There is no merchant ${merchantId}.`);
      }
      return this.issue(db, { merchantId, scopes, lifetimeMs });
    });
  }

  /**
   * A new key with the rights of an old one, which lives on for the overlap. A key that expires is followed by one
   * that lives as long as it was meant to.
   * @throws KeyManagementError when the old key is unknown, no longer valid, rotated already, or the sandbox's own.
   */
  rotate(apiKeyId: string, overlapMs: number): Promise<RotatedKey> {
    return this.dataSource.transaction(async (db) => {
      const old = await this.findOwn(db, apiKeyId);
      if (old.status !== 'active') {
        throw new KeyManagementError(`The API key ${apiKeyId} is ${old.status}: create a new one instead.`);
      }
      if (old.replacedBy !== null) {
        throw new KeyManagementError(
          `The API key ${apiKeyId} was rotated already: rotate its successor ${old.replacedBy}.`,
        );
      }
      const lifetimeMs = old.expiresAt === null ? null : old.expiresAt.getTime() - old.createdAt.getTime();
      const issued = await this.issue(db, { merchantId: old.merchantId, scopes: old.scopes, lifetimeMs });
      const oldExpiresAt = await this.apiKeys.replace(db, apiKeyId, issued.apiKeyId, overlapMs);
      return { ...issued, replaces: apiKeyId, oldExpiresAt };
    });
  }

  /** Ends a key now. Answers when it was revoked, which for one that was already is when that happened. */
  revoke(apiKeyId: string): Promise<Date> {
    return this.dataSource.transaction(async (db) => {
      await this.findOwn(db, apiKeyId);
      return this.apiKeys.revoke(db, apiKeyId);
    });
  }

  private async issue(
    db: EntityManager,
    key: Pick<NewApiKeyRow, 'merchantId' | 'scopes' | 'lifetimeMs'>,
  ): Promise<IssuedKey> {
    const { apiKey, ...stored } = createApiKey(this.sandbox);
    const record = await this.apiKeys.insert(db, { ...key, ...stored, apiKeyId: uuidv7() });
    return { ...record, apiKey };
  }

  private async findOwn(db: EntityManager, apiKeyId: string): Promise<ApiKeyRecord> {
    const key = await this.apiKeys.lock(db, apiKeyId);
    if (key === null) throw new KeyManagementError(`There is no API key ${apiKeyId}.`);
    // The next start would find it gone or revoked, and the sandbox without a key.
    if (key.sandboxOnly) {
      throw new KeyManagementError(
        "This is the sandbox's own key: set SANDBOX_API_KEY to another value and start the sandbox again.",
      );
    }
    return key;
  }
}
