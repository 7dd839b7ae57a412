import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { Admission } from './admission.js';
import { ApiKeyGuard } from './api-key.guard.js';
import { ApiKeysStore } from './api-keys.store.js';
import { KnownApiKeys } from './known-api-keys.js';
import { LastUsed } from './last-used.js';
import { RateLimits } from './rate-limits.js';
import { SandboxSeed } from './sandbox-seed.js';

/** Every route requires an API key, unless it is `@Public()`. Needs the database and the configuration. */
@Module({
  providers: [
    Admission,
    ApiKeysStore,
    KnownApiKeys,
    LastUsed,
    RateLimits,
    SandboxSeed,
    { provide: APP_GUARD, useClass: ApiKeyGuard },
  ],
  exports: [Admission, KnownApiKeys, RateLimits],
})
export class AuthModule {}
