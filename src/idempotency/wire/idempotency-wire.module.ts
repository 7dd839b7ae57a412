import { Module } from '@nestjs/common';
import { AuthModule } from '../../auth/auth.module.js';
import { HttpModule } from '../../http/http.module.js';
import { IdempotencyModule } from '../idempotency.module.js';
import { Answers } from './answers.js';
import { IdenticalRequests } from './identical-requests.js';
import { IdempotencyKeysController } from './idempotency-keys.controller.js';

/** Idempotency keys over HTTP: the interceptor, the answers, identical requests, and the route that shows a key's state. */
@Module({
  imports: [AuthModule, HttpModule, IdempotencyModule],
  controllers: [IdempotencyKeysController],
  providers: [Answers, IdenticalRequests],
  exports: [IdempotencyModule, Answers],
})
export class IdempotencyWireModule {}
