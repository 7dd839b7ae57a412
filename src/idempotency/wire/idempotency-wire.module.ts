import { Module } from '@nestjs/common';
import { HttpModule } from '../../http/http.module.js';
import { IdempotencyModule } from '../idempotency.module.js';
import { Answers } from './answers.js';
import { IdempotencyKeysController } from './idempotency-keys.controller.js';

/** Idempotency keys over HTTP: the interceptor, the answers, and the route that shows a key's state. */
@Module({
  imports: [HttpModule, IdempotencyModule],
  controllers: [IdempotencyKeysController],
  providers: [Answers],
  exports: [IdempotencyModule, Answers],
})
export class IdempotencyWireModule {}
