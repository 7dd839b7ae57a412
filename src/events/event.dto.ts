import { ApiProperty, ApiPropertyOptional, getSchemaPath } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { PageAnswerDto, PeriodQueryDto } from '../http/page.dto.js';
import type { EventEntity } from './event.entity.js';
import { EVENT_TYPES, type EventType } from './event.js';

const EXAMPLE_EVENT_ID = '019b2f6e-7c26-7b0a-8d4e-5f1a2b3c4d5e';
const EXAMPLE_TRANSACTION_ID = '019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e';

/** An event on the wire. */
export class EventDto {
  @ApiProperty({ format: 'uuid', example: EXAMPLE_EVENT_ID, description: 'A UUIDv7 that never changes.' })
  event_id!: string;

  @ApiProperty({ enum: EVENT_TYPES, example: 'payment.completed' })
  type!: EventType;

  @ApiProperty({ format: 'uuid', example: EXAMPLE_TRANSACTION_ID, description: 'The payment that it is of.' })
  transaction_id!: string;

  @ApiProperty({
    type: 'integer',
    minimum: 1,
    example: 1,
    description: "Counts the payment's events, without gaps: this is their order.",
  })
  sequence!: number;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T09:30:00.012Z' })
  created_at!: string;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    // By name, because the payments room that defines them is above this one.
    oneOf: [{ $ref: getSchemaPath('PaymentDto') }, { $ref: getSchemaPath('RefundDto') }],
    description: 'The payment, or for `refund.…` the refund, as it was then.',
  })
  data!: object;
}

export function eventToWire(event: EventEntity): EventDto {
  return {
    event_id: event.eventId,
    type: event.type,
    transaction_id: event.transactionId,
    sequence: event.sequence,
    created_at: event.createdAt.toISOString(),
    data: event.resource,
  };
}

export class EventPageDto extends PageAnswerDto {
  @ApiProperty({ type: [EventDto] })
  data!: EventDto[];
}

/** The query of the list of events. */
export class ListEventsDto extends PeriodQueryDto {
  @ApiPropertyOptional({ enum: EVENT_TYPES })
  @IsOptional()
  @IsIn(EVENT_TYPES, { message: `must be one of ${EVENT_TYPES.join(', ')}` })
  type?: EventType;

  @ApiPropertyOptional({ format: 'uuid', description: "One payment's events." })
  @IsOptional()
  @IsUUID('all', { message: 'must be a UUID' })
  transaction_id?: string;
}
