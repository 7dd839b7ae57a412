import { ApiProperty } from '@nestjs/swagger';
import {
  type Reversal,
  REVERSAL_OUTCOMES,
  REVERSAL_STATUSES,
  type ReversalOutcome,
  type ReversalStatus,
} from '../domain/reversal.js';
import { MAX_KEY_LENGTH } from '../idempotency/wire/idempotency-key.js';
import { IsIdempotencyKey } from '../idempotency/wire/idempotency-key.validator.js';

export class CreateReversalDto {
  @ApiProperty({
    minLength: 1,
    maxLength: MAX_KEY_LENGTH,
    example: 'order-1001-charge',
    description: 'The key of the payment that shall not have happened, whether it ever arrived or not.',
  })
  @IsIdempotencyKey()
  idempotency_key!: string;
}

class ReversalFailureDto {
  @ApiProperty({ example: 'refund_declined' })
  code!: string;

  @ApiProperty({ example: 'The card does not take refunds.' })
  message!: string;
}

/** A reversal on the wire. */
export class ReversalDto {
  @ApiProperty({ format: 'uuid', example: '019b2f70-2b1c-7d10-a3f4-5e6d7c8b9a01', description: 'A UUIDv7.' })
  reversal_id!: string;

  @ApiProperty({ example: 'order-1001-charge', description: 'Of the payment that is undone.' })
  idempotency_key!: string;

  @ApiProperty({ enum: REVERSAL_STATUSES, example: 'completed' })
  status!: ReversalStatus;

  @ApiProperty({
    enum: REVERSAL_OUTCOMES,
    nullable: true,
    example: 'refunded',
    description:
      'How the payment has not happened: it never arrived and is refused for ever (`prevented`), it had `failed`, its ' +
      'authorization was `canceled`, or its money was `refunded`. Null until the reversal is completed.',
  })
  outcome!: ReversalOutcome | null;

  @ApiProperty({
    type: String,
    format: 'uuid',
    nullable: true,
    description: 'The payment that was undone; null for none.',
  })
  transaction_id!: string | null;

  @ApiProperty({ type: ReversalFailureDto, nullable: true, example: null })
  failure!: ReversalFailureDto | null;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ format: 'date-time' })
  updated_at!: string;
}

export function reversalToWire(reversal: Reversal): ReversalDto {
  return {
    reversal_id: reversal.reversalId,
    idempotency_key: reversal.reversedKey,
    status: reversal.status,
    outcome: reversal.outcome,
    transaction_id: reversal.transactionId,
    failure: reversal.failure,
    created_at: reversal.createdAt.toISOString(),
    updated_at: reversal.updatedAt.toISOString(),
  };
}
