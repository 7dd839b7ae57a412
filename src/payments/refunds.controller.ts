import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import {
  ApiBody,
  ApiCreatedResponse,
  ApiOkResponse,
  ApiOperation,
  ApiResponse,
  ApiTags,
} from '@nestjs/swagger';
import { validate as isUuid } from 'uuid';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { Scopes } from '../auth/scopes.decorator.js';
import { RefusedError } from '../domain/errors.js';
import { amountFromWire } from '../domain/money.js';
import { ApiProblems, KEYED_HEADERS, LOCATION_HEADER, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { Idempotent } from '../idempotency/wire/idempotent.decorator.js';
import { Keyed, type KeyedRequest } from '../idempotency/wire/keyed-request.js';
import type { Answer } from '../idempotency/operation.js';
import { OperationRunner } from '../idempotency/operation.runner.js';
import { pageOf, readCursor } from '../http/cursor.js';
import { DEFAULT_PAGE_SIZE, PageQueryDto } from '../http/page.dto.js';
import { PaymentsStore } from './payments.store.js';
import { CreateRefundDto, RefundDto, RefundPageDto, refundToWire } from './refund.dto.js';
import { RefundsStore } from './refunds.store.js';

@ApiTags('Refunds')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1')
export class RefundsController {
  constructor(
    private readonly runner: OperationRunner,
    private readonly payments: PaymentsStore,
    private readonly refunds: RefundsStore,
  ) {}

  @Post('payments/:transaction_id/refunds')
  @Scopes('refunds:write')
  @Idempotent({ operation: 'refund' })
  @ApiOperation({ summary: 'Refund a payment, whole or in part', operationId: 'createRefund' })
  @ApiBody({ type: CreateRefundDto, required: false })
  @ApiCreatedResponse({
    type: RefundDto,
    description: 'The money was given back.',
    headers: { ...KEYED_HEADERS, ...LOCATION_HEADER },
  })
  @ApiResponse({
    status: 202,
    type: RefundDto,
    description: 'The gateway has not said yet what it did: `pending`. Ask again with the same key.',
    headers: { ...KEYED_HEADERS, ...LOCATION_HEADER },
  })
  @ApiProblems(
    'malformed_body',
    'validation_failed',
    'not_found',
    'payload_too_large',
    'unsupported_media_type',
  )
  @ApiProblems('payment_not_refundable', 'amount_too_large', 'refund_declined')
  async create(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Param('transaction_id') id: string,
    @Body() { amount = null, reason = null }: CreateRefundDto,
  ): Promise<Answer> {
    const { transactionId, gatewayKey } = await this.payments.require(merchantId, id);
    const command = { transactionId, amountMinor: amount === null ? null : amountFromWire(amount), reason };
    return this.runner.run({
      ...keyed,
      merchantId,
      params: { transactionId },
      gatewayParams: { payment: gatewayKey },
      body: { amount, reason },
      command,
    });
  }

  @Get('payments/:transaction_id/refunds')
  @Scopes('payments:read')
  @ApiOperation({ summary: "List a payment's refunds, newest first", operationId: 'listRefunds' })
  @ApiOkResponse({ type: RefundPageDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('validation_failed', 'not_found', 'service_unavailable')
  async list(
    @CurrentMerchant() merchantId: string,
    @Param('transaction_id') id: string,
    @Query() { limit = DEFAULT_PAGE_SIZE, cursor }: PageQueryDto,
  ): Promise<RefundPageDto> {
    const before = readCursor(cursor);
    const { transactionId } = await this.payments.require(merchantId, id);
    const refunds = await this.refunds.list(merchantId, transactionId, before, limit + 1);
    return pageOf(refunds.map(refundToWire), limit, (refund) => refund.refund_id);
  }

  @Get('refunds/:refund_id')
  @Scopes('payments:read')
  @ApiOperation({ summary: 'Read a refund as it is now', operationId: 'getRefund' })
  @ApiOkResponse({ type: RefundDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('not_found', 'service_unavailable')
  async read(
    @CurrentMerchant() merchantId: string,
    @Param('refund_id') refundId: string,
  ): Promise<RefundDto> {
    const refund = isUuid(refundId) ? await this.refunds.find(merchantId, refundId) : null;
    if (refund === null) throw new RefusedError({ code: 'not_found', what: 'refund' });
    return refundToWire(refund);
  }
}
