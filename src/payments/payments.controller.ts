import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { Scopes } from '../auth/scopes.decorator.js';
import { amountFromWire } from '../domain/money.js';
import { ApiProblems, KEYED_HEADERS, LOCATION_HEADER, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { Idempotent } from '../idempotency/wire/idempotent.decorator.js';
import { Keyed, type KeyedRequest } from '../idempotency/wire/keyed-request.js';
import type { Answer } from '../idempotency/operation.js';
import { OperationRunner } from '../idempotency/operation.runner.js';
import { pageOf, readCursor } from '../http/cursor.js';
import { DEFAULT_PAGE_SIZE } from '../http/page.dto.js';
import { CancelPaymentDto, CapturePaymentDto } from './authorization-end.dto.js';
import { EndsAuthorization } from './ends-authorization.decorator.js';
import {
  CreatePaymentDto,
  ListPaymentsDto,
  PaymentDto,
  PaymentPageDto,
  paymentToWire,
  toChargeCommand,
  withDefaults,
} from './payment.dto.js';
import { PaymentListStore } from './payment-list.store.js';
import { PaymentsStore } from './payments.store.js';

@ApiTags('Payments')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1/payments')
export class PaymentsController {
  constructor(
    private readonly runner: OperationRunner,
    private readonly payments: PaymentsStore,
    private readonly lists: PaymentListStore,
  ) {}

  @Post()
  @Scopes('payments:write')
  @Idempotent({ operation: 'charge' })
  @ApiOperation({ summary: 'Charge, exactly once', operationId: 'createPayment' })
  @ApiCreatedResponse({
    type: PaymentDto,
    description: 'The payment was taken (`completed`), or authorized if captured manually.',
    headers: { ...KEYED_HEADERS, ...LOCATION_HEADER },
  })
  @ApiResponse({
    status: 202,
    type: PaymentDto,
    description:
      'The gateway has not said yet whether it took the money: `pending`. Ask again with the same key.',
    headers: { ...KEYED_HEADERS, ...LOCATION_HEADER },
  })
  @ApiProblems('malformed_body', 'validation_failed', 'payload_too_large', 'unsupported_media_type')
  @ApiProblems('card_declined', 'insufficient_funds', 'expired_card', 'invalid_payment_method')
  create(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Body() dto: CreatePaymentDto,
  ): Promise<Answer> {
    const body = withDefaults(dto);
    return this.runner.run({ ...keyed, merchantId, body, command: toChargeCommand(body) });
  }

  @Get()
  @Scopes('payments:read')
  @ApiOperation({ summary: 'List payments, newest first', operationId: 'listPayments' })
  @ApiOkResponse({ type: PaymentPageDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('validation_failed', 'service_unavailable')
  async list(
    @CurrentMerchant() merchantId: string,
    @Query() query: ListPaymentsDto,
  ): Promise<PaymentPageDto> {
    const limit = query.limit ?? DEFAULT_PAGE_SIZE;
    const filter = {
      status: query.status,
      currency: query.currency,
      userId: query.user_id,
      createdGte: query.created_gte === undefined ? undefined : new Date(query.created_gte),
      createdLt: query.created_lt === undefined ? undefined : new Date(query.created_lt),
      before: readCursor(query.cursor),
    };
    const payments = await this.lists.list(merchantId, filter, limit + 1);
    return pageOf(payments.map(paymentToWire), limit, (payment) => payment.transaction_id);
  }

  @Get(':transaction_id')
  @Scopes('payments:read')
  @ApiOperation({ summary: 'Read a payment as it is now', operationId: 'getPayment' })
  @ApiOkResponse({ type: PaymentDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('not_found', 'service_unavailable')
  async read(
    @CurrentMerchant() merchantId: string,
    @Param('transaction_id') transactionId: string,
  ): Promise<PaymentDto> {
    return paymentToWire(await this.payments.require(merchantId, transactionId));
  }

  @EndsAuthorization({
    operation: 'capture',
    summary: 'Capture an authorized payment, whole or in part',
    body: CapturePaymentDto,
    done: 'The amount was taken, and the rest of the authorization was given up.',
  })
  @ApiProblems('payment_not_capturable', 'amount_too_large', 'card_declined')
  async capture(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Param('transaction_id') id: string,
    @Body() { amount = null }: CapturePaymentDto,
  ): Promise<Answer> {
    const { transactionId, gatewayKey } = await this.payments.require(merchantId, id);
    const command = { transactionId, amountMinor: amount === null ? null : amountFromWire(amount) };
    return this.runner.run({
      ...keyed,
      merchantId,
      params: { transactionId },
      gatewayParams: { payment: gatewayKey },
      body: { amount },
      command,
    });
  }

  @EndsAuthorization({
    operation: 'cancel',
    summary: 'Cancel an authorized payment',
    body: CancelPaymentDto,
    done: 'The authorization was given up.',
  })
  @ApiProblems('payment_not_cancelable', 'card_declined')
  async cancel(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Param('transaction_id') id: string,
    @Body() _body: CancelPaymentDto,
  ): Promise<Answer> {
    const { transactionId, gatewayKey } = await this.payments.require(merchantId, id);
    const command = { transactionId, amountMinor: null };
    return this.runner.run({
      ...keyed,
      merchantId,
      params: { transactionId },
      gatewayParams: { payment: gatewayKey },
      body: {},
      command,
    });
  }
}
