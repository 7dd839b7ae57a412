import { Body, Controller, Get, Param, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { validate as isUuid } from 'uuid';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { Scopes } from '../auth/scopes.decorator.js';
import { RefusedError } from '../domain/errors.js';
import { ApiProblems, KEYED_HEADERS, LOCATION_HEADER, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { Idempotent } from '../idempotency/wire/idempotent.decorator.js';
import { parseIdempotencyKey } from '../idempotency/wire/idempotency-key.js';
import { Keyed, type KeyedRequest } from '../idempotency/wire/keyed-request.js';
import type { Answer } from '../idempotency/operation.js';
import { OperationRunner } from '../idempotency/operation.runner.js';
import { CreateReversalDto, ReversalDto, reversalToWire } from './reversal.dto.js';
import { ReversalsStore } from './reversals.store.js';

@ApiTags('Reversals')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1/reversals')
export class ReversalsController {
  constructor(
    private readonly runner: OperationRunner,
    private readonly reversals: ReversalsStore,
  ) {}

  @Post()
  @Scopes('payments:write', 'refunds:write')
  @Idempotent({ operation: 'reversal' })
  @ApiOperation({
    summary: 'Make a payment not have happened, whatever became of its request',
    operationId: 'createReversal',
    description:
      'For whoever sent a payment and never heard back. It is canceled or refunded if it happened, and refused for ever ' +
      'if it has not arrived yet.',
  })
  @ApiCreatedResponse({
    type: ReversalDto,
    description: 'The payment has not happened, and will not.',
    headers: { ...KEYED_HEADERS, ...LOCATION_HEADER },
  })
  @ApiResponse({
    status: 202,
    type: ReversalDto,
    description:
      'It is not known yet what became of the payment or of its undoing: `pending`. The service goes on with it; ' +
      'ask again with the same key.',
    headers: { ...KEYED_HEADERS, ...LOCATION_HEADER },
  })
  @ApiProblems('malformed_body', 'validation_failed', 'payload_too_large', 'unsupported_media_type')
  @ApiProblems('idempotency_key_not_reversible', 'refund_declined')
  create(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Body() dto: CreateReversalDto,
  ): Promise<Answer> {
    const reversedKey = parseIdempotencyKey(dto.idempotency_key);
    return this.runner.run({
      ...keyed,
      merchantId,
      body: { idempotency_key: reversedKey },
      command: { reversedKey },
    });
  }

  @Get(':reversal_id')
  @Scopes('payments:read')
  @ApiOperation({ summary: 'Read a reversal as it is now', operationId: 'getReversal' })
  @ApiOkResponse({ type: ReversalDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('not_found', 'service_unavailable')
  async read(@CurrentMerchant() merchantId: string, @Param('reversal_id') id: string): Promise<ReversalDto> {
    const reversal = isUuid(id) ? await this.reversals.find(merchantId, id) : null;
    if (reversal === null) throw new RefusedError({ code: 'not_found', what: 'reversal' });
    return reversalToWire(reversal);
  }
}
