import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../../auth/merchant.decorator.js';
import { Scopes } from '../../auth/scopes.decorator.js';
import { RefusedError } from '../../domain/errors.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../../http/api-docs.js';
import { ClaimsStore, type ClaimState } from '../claims.store.js';
import { OperationRegistry } from '../operation.registry.js';
import type { ScopedKey } from '../scoped-key.js';
import { IdempotencyKeyDto } from './idempotency-key.dto.js';
import { parseIdempotencyKey } from './idempotency-key.js';

@ApiTags('Idempotency keys')
@ApiProblems('unauthorized', 'service_unavailable', 'internal_error')
@Controller('v1/idempotency-keys')
export class IdempotencyKeysController {
  constructor(
    private readonly claims: ClaimsStore,
    private readonly operations: OperationRegistry,
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
    const state = claim === undefined ? await this.expired(scoped) : this.stateOf(claim);
    if (state === null) throw new RefusedError({ code: 'not_found', what: 'idempotency key' });
    return state;
  }

  private stateOf(claim: ClaimState): IdempotencyKeyDto {
    const running = claim.status === 'in_progress' && !claim.leaseExpired;
    return {
      idempotency_key: claim.idempotencyKey,
      state: claim.status,
      operation: claim.operation,
      resource: this.operations.get(claim.operation)?.resourcePath(claim) ?? null,
      response_status: claim.answer?.status ?? null,
      attempts: claim.status === 'reversed' ? null : claim.attempt,
      running,
      running_until: running ? claim.leaseExpiresAt.toISOString() : null,
      first_seen_at: claim.createdAt.toISOString(),
      expires_at: claim.expiresAt?.toISOString() ?? null,
    };
  }

  /** The state of a key whose stored answer was reaped, from what was made under it. */
  private async expired(key: ScopedKey): Promise<IdempotencyKeyDto | null> {
    for (const operation of this.operations.all()) {
      const made = await operation.madeUnder?.(key);
      if (made) {
        return {
          idempotency_key: key.idempotencyKey,
          state: 'expired',
          operation: operation.name,
          resource: operation.resourcePath({
            resourceId: made.resourceId,
            status: 'completed',
            answer: null,
          }),
          response_status: null,
          attempts: null,
          running: false,
          running_until: null,
          first_seen_at: made.createdAt.toISOString(),
          expires_at: null,
        };
      }
    }
    return null;
  }
}
