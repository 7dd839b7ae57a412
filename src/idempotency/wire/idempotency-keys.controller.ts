import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../../auth/merchant.decorator.js';
import { Scopes } from '../../auth/scopes.decorator.js';
import { RefusedError } from '../../domain/errors.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../../http/api-docs.js';
import { ClaimsStore, type ClaimState, type ScopedKey } from '../claims.store.js';
import { IdempotencyKeyDto } from './idempotency-key.dto.js';
import { parseIdempotencyKey } from './idempotency-key.js';
import { PaymentsStore } from '../../payments/payments.store.js';
import { RefundsStore } from '../../payments/refunds.store.js';
import { ReversalsStore } from '../../payments/reversals.store.js';

/** What was made under a key whose stored answer is gone. */
interface Made {
  operation: string;
  resourceId: string;
  createdAt: Date;
}

@ApiTags('Idempotency keys')
@ApiProblems('unauthorized', 'service_unavailable', 'internal_error')
@Controller('v1/idempotency-keys')
export class IdempotencyKeysController {
  constructor(
    private readonly claims: ClaimsStore,
    private readonly payments: PaymentsStore,
    private readonly refunds: RefundsStore,
    private readonly reversals: ReversalsStore,
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
    const made = await this.madeUnder(scoped);
    if (made !== null) return madeToWire(scoped.idempotencyKey, made);
    throw new RefusedError({ code: 'not_found', what: 'idempotency key' });
  }

  private async madeUnder(key: ScopedKey): Promise<Made | null> {
    const payment = (await this.payments.findByKey(key))?.payment;
    if (payment)
      return { operation: 'charge', resourceId: payment.transactionId, createdAt: payment.createdAt };
    const refund = (await this.refunds.findByKey(key))?.refund;
    if (refund) return { operation: 'refund', resourceId: refund.refundId, createdAt: refund.createdAt };
    const reversal = (await this.reversals.findByKey(key))?.reversal;
    if (!reversal) return null;
    return { operation: 'reversal', resourceId: reversal.reversalId, createdAt: reversal.createdAt };
  }
}

function claimToWire(claim: ClaimState): IdempotencyKeyDto {
  return {
    idempotency_key: claim.idempotencyKey,
    state: claim.status,
    operation: claim.operation,
    resource: madeNothing(claim) ? null : resourcePath(claim.operation, claim.resourceId),
    response_status: claim.answer?.status ?? null,
    first_seen_at: claim.createdAt.toISOString(),
    expires_at: claim.expiresAt?.toISOString() ?? null,
  };
}

/** A refund that the payment did not allow was never made; what its payment's state forbids has a payment still. */
function madeNothing({ status, operation, answer }: ClaimState): boolean {
  return status === 'released' || (operation === 'refund' && answer?.status === 409);
}

function madeToWire(idempotencyKey: string, { operation, resourceId, createdAt }: Made): IdempotencyKeyDto {
  return {
    idempotency_key: idempotencyKey,
    state: 'expired',
    operation,
    resource: resourcePath(operation, resourceId),
    response_status: null,
    first_seen_at: createdAt.toISOString(),
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
    case 'create_webhook_endpoint':
    case 'rotate_webhook_secret':
      return `/v1/webhook-endpoints/${resourceId}`;
    default:
      return `/v1/payments/${resourceId}`;
  }
}
