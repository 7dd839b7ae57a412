import { applyDecorators, UseInterceptors } from '@nestjs/common';
import { ApiIdempotencyKey, ApiProblems } from '../http/api-docs.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';

/**
 * Makes a route idempotent: it requires an `Idempotency-Key`, its handler returns the `Answer` of the operation
 * runner, and the answer goes out byte for byte.
 *
 * @example
 * ```ts
 * @Post()
 * @Idempotent()
 * create(@Keyed() keyed: KeyedRequest, @Body() body: CreatePaymentDto): Promise<Answer> {
 *   return this.runner.run(this.charge, chargeRequest(keyed, body));
 * }
 * ```
 */
export function Idempotent(): MethodDecorator {
  return applyDecorators(
    UseInterceptors(IdempotencyInterceptor),
    ApiIdempotencyKey(),
    ApiProblems(
      'idempotency_key_missing',
      'idempotency_key_invalid',
      'idempotency_key_in_progress',
      'idempotency_key_reused',
      'service_unavailable',
      'outcome_unknown',
    ),
  );
}
