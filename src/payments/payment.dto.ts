import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { IsCurrencyCode } from '../currencies/currency-code.validator.js';
import { amountFromWire, amountToWire, MAX_AMOUNT_MINOR, MIN_AMOUNT_MINOR } from '../domain/money.js';
import {
  CAPTURE_METHODS,
  PAYMENT_STATUSES,
  type CaptureMethod,
  type Payment,
  type PaymentStatus,
} from '../domain/payment.js';
import { IsAmount, IsPaymentMethodToken, IsSafeText, IsStringMap } from '../http/field-validators.js';
import { PageAnswerDto, PeriodQueryDto } from '../http/page.dto.js';
import type { ChargeCommand } from './commands.js';

const MAX_DESCRIPTION_LENGTH = 500;
const MAX_METADATA_PAIRS = 50;
const MAX_METADATA_KEY_LENGTH = 40;
const MAX_METADATA_VALUE_LENGTH = 500;

const EXAMPLE_TRANSACTION_ID = '019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e';
const EXAMPLE_USER_ID = '0b6b2f0e-58c8-4d64-9c0f-9d1b6a3f1c55';

export const AMOUNT = {
  type: 'integer',
  minimum: Number(MIN_AMOUNT_MINOR),
  maximum: Number(MAX_AMOUNT_MINOR),
} as const;

/** The body of a new payment. */
export class CreatePaymentDto {
  @ApiProperty({ ...AMOUNT, example: 1999, description: "In the currency's minor unit: 1999 is 19.99 EUR." })
  @IsAmount()
  amount!: number;

  @ApiProperty({ example: 'EUR', pattern: '^[A-Z]{3}$', description: 'ISO 4217, upper case.' })
  @IsCurrencyCode()
  currency!: string;

  @ApiProperty({ example: 'pm_card_visa', description: "A payment method's token, never a card number." })
  @IsPaymentMethodToken()
  payment_method!: string;

  @ApiPropertyOptional({
    format: 'uuid',
    type: String,
    nullable: true,
    example: EXAMPLE_USER_ID,
    description: 'Whom you charge.',
  })
  @IsOptional()
  @IsUUID('all', { message: 'must be a UUID' })
  user_id?: string | null;

  @ApiPropertyOptional({
    enum: CAPTURE_METHODS,
    default: 'automatic',
    description: '`automatic` takes the money now; `manual` only authorizes it.',
  })
  @IsOptional()
  @IsIn(CAPTURE_METHODS, { message: `must be one of ${CAPTURE_METHODS.join(', ')}` })
  capture_method?: CaptureMethod | null;

  @ApiPropertyOptional({
    type: String,
    nullable: true,
    maxLength: MAX_DESCRIPTION_LENGTH,
    example: 'Order 1001',
  })
  @IsOptional()
  @IsSafeText(0, MAX_DESCRIPTION_LENGTH)
  description?: string | null;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: { type: 'string', maxLength: MAX_METADATA_VALUE_LENGTH },
    maxProperties: MAX_METADATA_PAIRS,
    example: { order_id: '1001' },
    description: `Up to ${MAX_METADATA_PAIRS} pairs of your own.`,
  })
  @IsOptional()
  @IsStringMap(MAX_METADATA_PAIRS, MAX_METADATA_KEY_LENGTH, MAX_METADATA_VALUE_LENGTH)
  metadata?: Record<string, string> | null;
}

/**
 * The body with its defaults filled in, so that omitting a field and sending its default are the same request. The
 * fingerprint covers this form.
 */
export function withDefaults(body: CreatePaymentDto) {
  return {
    amount: body.amount,
    currency: body.currency,
    payment_method: body.payment_method,
    // A UUID is case-insensitive (RFC 9562 section 4).
    user_id: body.user_id?.toLowerCase() ?? null,
    capture_method: body.capture_method ?? 'automatic',
    description: body.description ?? null,
    metadata: body.metadata ?? {},
  };
}

export function toChargeCommand(body: ReturnType<typeof withDefaults>): ChargeCommand {
  return {
    amountMinor: amountFromWire(body.amount),
    currency: body.currency,
    paymentMethod: body.payment_method,
    captureMethod: body.capture_method,
    userId: body.user_id,
    description: body.description,
    metadata: body.metadata,
  };
}

export class PaymentFailureDto {
  @ApiProperty({ example: 'card_declined' })
  code!: string;

  @ApiProperty({ example: 'The card was declined.' })
  message!: string;
}

/** A payment on the wire. */
export class PaymentDto {
  @ApiProperty({ format: 'uuid', example: EXAMPLE_TRANSACTION_ID, description: 'A UUIDv7.' })
  transaction_id!: string;

  @ApiProperty({ format: 'uuid', example: '00000000-0000-7000-8000-000000000001' })
  merchant_id!: string;

  @ApiProperty({ format: 'uuid', type: String, nullable: true, example: EXAMPLE_USER_ID })
  user_id!: string | null;

  @ApiProperty({ ...AMOUNT, example: 1999 })
  amount!: number;

  @ApiProperty({ type: 'integer', minimum: 0, example: 1999 })
  amount_captured!: number;

  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 0,
    description: 'What was given back, refunds under way included.',
  })
  amount_refunded!: number;

  @ApiProperty({ example: 'EUR' })
  currency!: string;

  @ApiProperty({ enum: PAYMENT_STATUSES, example: 'completed' })
  status!: PaymentStatus;

  @ApiProperty({ example: 'pm_card_visa' })
  payment_method!: string;

  @ApiProperty({ enum: CAPTURE_METHODS, example: 'automatic' })
  capture_method!: CaptureMethod;

  @ApiProperty({ type: String, nullable: true, example: 'Order 1001' })
  description!: string | null;

  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' }, example: { order_id: '1001' } })
  metadata!: Readonly<Record<string, string>>;

  @ApiProperty({
    type: PaymentFailureDto,
    nullable: true,
    example: null,
    description: 'Why it failed; null unless it did.',
  })
  failure!: PaymentFailureDto | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T09:30:00.000Z' })
  created_at!: string;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T09:30:00.012Z' })
  updated_at!: string;
}

export function paymentToWire(payment: Payment): PaymentDto {
  return {
    transaction_id: payment.transactionId,
    merchant_id: payment.merchantId,
    user_id: payment.userId,
    amount: amountToWire(payment.amount),
    amount_captured: amountToWire(payment.amountCaptured),
    amount_refunded: amountToWire(payment.amountRefunded),
    currency: payment.currency,
    status: payment.status,
    payment_method: payment.paymentMethod,
    capture_method: payment.captureMethod,
    description: payment.description,
    metadata: payment.metadata,
    failure: payment.failure,
    created_at: payment.createdAt.toISOString(),
    updated_at: payment.updatedAt.toISOString(),
  };
}

export class PaymentPageDto extends PageAnswerDto {
  @ApiProperty({ type: [PaymentDto] })
  data!: PaymentDto[];
}

/** The query of the list of payments. */
export class ListPaymentsDto extends PeriodQueryDto {
  @ApiPropertyOptional({ enum: PAYMENT_STATUSES })
  @IsOptional()
  @IsIn(PAYMENT_STATUSES, { message: `must be one of ${PAYMENT_STATUSES.join(', ')}` })
  status?: PaymentStatus;

  @ApiPropertyOptional({ example: 'EUR' })
  @IsOptional()
  @IsCurrencyCode()
  currency?: string;

  @ApiPropertyOptional({ format: 'uuid' })
  @IsOptional()
  @IsUUID('all', { message: 'must be a UUID' })
  user_id?: string;
}
