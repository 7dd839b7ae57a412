import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { RefusedError } from '../domain/errors.js';
import { ApiProblems, KEYED_HEADERS, LOCATION_HEADER, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { fingerprint } from '../idempotency/fingerprint.js';
import { Idempotent } from '../idempotency/idempotent.decorator.js';
import { Keyed, type KeyedRequest } from '../idempotency/keyed-request.js';
import type { Answer } from '../operations/operation.js';
import { OperationRunner } from '../operations/operation.runner.js';
import { ChargeOperation } from './charge.operation.js';
import { pageOf, readCursor } from './cursor.js';
import {
  CreatePaymentDto,
  DEFAULT_PAGE_SIZE,
  ListPaymentsDto,
  PaymentDto,
  PaymentPageDto,
  paymentToWire,
  toChargeCommand,
  withDefaults,
} from './payment.dto.js';
import { PaymentsStore } from './payments.store.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

@ApiTags('Payments')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1/payments')
export class PaymentsController {
  constructor(
    private readonly runner: OperationRunner,
    private readonly charge: ChargeOperation,
    private readonly payments: PaymentsStore,
  ) {}

  @Post()
  @Idempotent()
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
    return this.runner.run(this.charge, {
      ...keyed,
      merchantId,
      command: toChargeCommand(body),
      fingerprint: fingerprint({ operation: this.charge.name, body }),
    });
  }

  @Get()
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
    const payments = await this.payments.list(merchantId, filter, limit + 1);
    return pageOf(payments.map(paymentToWire), limit, (payment) => payment.transaction_id);
  }

  @Get(':transaction_id')
  @ApiOperation({ summary: 'Read a payment as it is now', operationId: 'getPayment' })
  @ApiOkResponse({ type: PaymentDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('not_found', 'service_unavailable')
  async read(
    @CurrentMerchant() merchantId: string,
    @Param('transaction_id') transactionId: string,
  ): Promise<PaymentDto> {
    const payment = UUID.test(transactionId) ? await this.payments.find(merchantId, transactionId) : null;
    if (payment === null) throw new RefusedError({ code: 'not_found', what: 'payment' });
    return paymentToWire(payment);
  }
}
