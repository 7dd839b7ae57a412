import { DataSource, type EntityManager } from 'typeorm';
import { uuidv7 } from '../ids/uuidv7.js';
import { createApiKey } from './api-key.js';
import { type ApiKeyRecord, ApiKeysStore, type NewApiKeyRow } from './api-keys.store.js';
import { KeyManagementError } from './key-management-error.js';
import { SCOPES, type Scope } from './scopes.js';

/** A new key. `apiKey` is the key itself, which is shown now and never again. */
export interface IssuedKey extends ApiKeyRecord {
  apiKey: string;
}

interface RotatedKey extends IssuedKey {
  replaces: string;
  /** When the old key stops working. */
  oldExpiresAt: Date;
}

/**
 * What an operator can do with merchants and their keys. The trigger on `api_keys` announces every change to all
 * processes at once.
 */
export class KeyManagement {
  private readonly apiKeys: ApiKeysStore;

  /** @param sandbox only decides the prefix of new keys. */
  constructor(
    private readonly dataSource: DataSource,
    private readonly sandbox: boolean,
  ) {
    this.apiKeys = new ApiKeysStore(dataSource);
  }

  /** Creates a merchant and its first key, which has all scopes and does not expire. */
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
   * Makes a new key with the same scopes as the old one, which keeps working for the overlap. If the old key expires,
   * the new one gets the lifetime that the old one was created with.
   * @throws KeyManagementError when the old key is unknown, no longer valid, already rotated, or the sandbox's own.
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

  /** Revokes a key now. Returns when it was revoked; if it already was, that is the time of the first revocation. */
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
    // Starting the sandbox does not change an existing key. If this one were revoked, no key would work there.
    if (key.sandboxOnly) {
      throw new KeyManagementError(
        "This is the sandbox's own key: set SANDBOX_API_KEY to another value and start the sandbox again.",
      );
    }
    return key;
  }
}
