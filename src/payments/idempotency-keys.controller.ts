import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { Scopes } from '../auth/scopes.decorator.js';
import { RefusedError } from '../domain/errors.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { ClaimsStore, type ClaimState } from '../idempotency/claims.store.js';
import { IdempotencyKeyDto } from '../idempotency/idempotency-key.dto.js';
import { parseIdempotencyKey } from '../idempotency/idempotency-key.js';
import { type PaymentOrigin, PaymentsStore } from './payments.store.js';

@ApiTags('Idempotency keys')
@ApiProblems('unauthorized', 'service_unavailable', 'internal_error')
@Controller('v1/idempotency-keys')
export class IdempotencyKeysController {
  constructor(
    private readonly claims: ClaimsStore,
    private readonly payments: PaymentsStore,
  ) {}

  @Get(':key')
  @Scopes('payments:read')
  @ApiOperation({ summary: 'What became of a key', operationId: 'getIdempotencyKey' })
  @ApiParam({ name: 'key', example: 'order-1001-charge', description: 'Percent-encoded, quoted or bare.' })
  @ApiOkResponse({ type: IdempotencyKeyDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('idempotency_key_invalid', 'not_found')
  async read(@CurrentMerchant() merchantId: string, @Param('key') key: string): Promise<IdempotencyKeyDto> {
    const scoped = { merchantId, idempotencyKey: parseIdempotencyKey(key) };
    const [claim] = await this.claims.find([scoped]);
    if (claim !== undefined) return claimToWire(claim);
    const origin = await this.payments.findByKey(scoped);
    if (origin !== null) return originToWire(scoped.idempotencyKey, origin);
    throw new RefusedError({ code: 'not_found', what: 'idempotency key' });
  }
}

function claimToWire(claim: ClaimState): IdempotencyKeyDto {
  return {
    idempotency_key: claim.idempotencyKey,
    state: claim.status,
    operation: claim.operation,
    resource: claim.status === 'released' ? null : resourcePath(claim.operation, claim.resourceId),
    response_status: claim.answer?.status ?? null,
    first_seen_at: claim.createdAt.toISOString(),
    expires_at: claim.expiresAt?.toISOString() ?? null,
  };
}

function originToWire(idempotencyKey: string, { payment }: PaymentOrigin): IdempotencyKeyDto {
  return {
    idempotency_key: idempotencyKey,
    state: 'expired',
    operation: 'charge',
    resource: resourcePath('charge', payment.transactionId),
    response_status: null,
    first_seen_at: payment.createdAt.toISOString(),
    expires_at: null,
  };
}

/** What an operation makes or changes. */
function resourcePath(operation: string, resourceId: string): string {
  switch (operation) {
    case 'refund':
      return `/v1/refunds/${resourceId}`;
    case 'reversal':
      return `/v1/reversals/${resourceId}`;
    default:
      return `/v1/payments/${resourceId}`;
  }
}
