import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../config/config.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { hashApiKey } from './api-key.js';
import { ApiKeysStore } from './api-keys.store.js';
import { SCOPES } from './scopes.js';

/** Fixed, so that the merchant is the same in examples and after the database is created anew. */
export const SANDBOX_MERCHANT_ID = '00000000-0000-7000-8000-000000000001';
const SANDBOX_MERCHANT_NAME = 'Sandbox merchant';
const MAX_KEY_PREFIX_LENGTH = 8;

/** Gives the sandbox its merchant and its one key at every start. Does nothing outside the sandbox. */
@Injectable()
export class SandboxSeed implements OnApplicationBootstrap {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly dataSource: DataSource,
    private readonly apiKeys: ApiKeysStore,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { sandbox, sandboxApiKey } = this.config;
    if (!sandbox || sandboxApiKey === null) return;
    const keyHash = hashApiKey(sandboxApiKey);
    await this.dataSource.transaction(async (db) => {
      await this.apiKeys.upsertMerchant(db, {
        merchantId: SANDBOX_MERCHANT_ID,
        name: SANDBOX_MERCHANT_NAME,
      });
      await this.apiKeys.deleteOtherSandboxKeys(db, keyHash);
      await this.apiKeys.insertSandboxKey(db, {
        apiKeyId: uuidv7(),
        merchantId: SANDBOX_MERCHANT_ID,
        keyHash,
        keyPrefix: keyPrefix(sandboxApiKey),
        scopes: SCOPES,
      });
    });
  }
}

/** Shows at most half of a short key. */
function keyPrefix(apiKey: string): string {
  return apiKey.slice(0, Math.min(MAX_KEY_PREFIX_LENGTH, Math.floor(apiKey.length / 2)));
}
