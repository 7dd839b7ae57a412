import { Module } from '@nestjs/common';
import { HttpModule } from '../../http/http.module.js';
import { IdempotencyModule } from '../idempotency.module.js';
import { Answers } from './answers.js';
import { IdempotencyKeysController } from './idempotency-keys.controller.js';

/** What keys look like over HTTP: the interceptor, the answers, and the route that says what became of a key. */
@Module({
  imports: [HttpModule, IdempotencyModule],
  controllers: [IdempotencyKeysController],
  providers: [Answers],
  exports: [IdempotencyModule, Answers],
})
export class IdempotencyWireModule {}
