import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { amountToWire } from '../domain/money.js';
import { REFUND_STATUSES, type Refund, type RefundStatus } from '../domain/refund.js';
import { IsAmount, IsSafeText } from '../http/field-validators.js';
import { PageAnswerDto } from '../http/page.dto.js';
import { AMOUNT, PaymentFailureDto } from './payment.dto.js';

const MAX_REASON_LENGTH = 500;

/** The body of a refund. It may be empty. */
export class CreateRefundDto {
  @ApiPropertyOptional({
    ...AMOUNT,
    example: 500,
    description: 'What to give back of the captured amount; all that is left of it if left out.',
  })
  @IsOptional()
  @IsAmount()
  amount?: number | null;

  @ApiPropertyOptional({ type: String, nullable: true, maxLength: MAX_REASON_LENGTH, example: 'damaged' })
  @IsOptional()
  @IsSafeText(0, MAX_REASON_LENGTH)
  reason?: string | null;
}

/** A refund on the wire. */
export class RefundDto {
  @ApiProperty({ format: 'uuid', example: '019b2f6f-01b4-7a5d-8c11-0d4e5f6a7b8c', description: 'A UUIDv7.' })
  refund_id!: string;

  @ApiProperty({ format: 'uuid', description: 'The payment that is refunded.' })
  transaction_id!: string;

  @ApiProperty({ ...AMOUNT, example: 500 })
  amount!: number;

  @ApiProperty({ example: 'EUR' })
  currency!: string;

  @ApiProperty({ enum: REFUND_STATUSES, example: 'completed' })
  status!: RefundStatus;

  @ApiProperty({ type: String, nullable: true, example: 'damaged' })
  reason!: string | null;

  @ApiProperty({ type: PaymentFailureDto, nullable: true, example: null })
  failure!: PaymentFailureDto | null;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ format: 'date-time' })
  updated_at!: string;
}

export function refundToWire(refund: Refund): RefundDto {
  return {
    refund_id: refund.refundId,
    transaction_id: refund.transactionId,
    amount: amountToWire(refund.amount),
    currency: refund.currency,
    status: refund.status,
    reason: refund.reason,
    failure: refund.failure,
    created_at: refund.createdAt.toISOString(),
    updated_at: refund.updatedAt.toISOString(),
  };
}

export class RefundPageDto extends PageAnswerDto {
  @ApiProperty({ type: [RefundDto] })
  data!: RefundDto[];
}
