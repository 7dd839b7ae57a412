import { applyDecorators, SetMetadata, UseInterceptors } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiIdempotencyKey, ApiProblems } from '../../http/api-docs.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency-options.js';
import { KEYED_ROUTE } from './identical-requests.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';

/**
 * Makes a route idempotent: its handler returns the `Answer` of the operation runner, which goes out byte for byte.
 *
 * @example
 * ```ts
 * @Post()
 * @Idempotent({ operation: 'charge' })
 * create(@CurrentMerchant() merchantId: string, @Keyed() keyed: KeyedRequest, @Body() dto: CreatePaymentDto) {
 *   const body = withDefaults(dto);
 *   return this.runner.run({ ...keyed, merchantId, body, command: toChargeCommand(body) });
 * }
 * ```
 */
export function Idempotent(options: IdempotencyOptions): MethodDecorator {
  const metadata = SetMetadata(IDEMPOTENCY_OPTIONS, options);
  if (options.policy === 'off') return metadata;
  return applyDecorators(
    metadata,
    RouteConfig(KEYED_ROUTE),
    UseInterceptors(IdempotencyInterceptor),
    ApiIdempotencyKey(options.operation),
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
