import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional } from 'class-validator';
import { EVENT_TYPES, type EventType } from '../../events/event.js';
import { IfGiven, IsSafeText, IsTime, IsTrueOrFalse } from '../../http/field-validators.js';
import { PageAnswerDto, PageQueryDto } from '../../http/page.dto.js';
import type { LoggedTry } from './webhook-deliveries.store.js';
import { DELIVERY_STATUSES, type DeliveryStatus } from './webhook-delivery.entity.js';
import { EXAMPLE_ENDPOINT_ID } from '../endpoints/webhook-endpoint.dto.js';
import { MAX_LISTED_TRIES, type Delivery } from './webhook-log.store.js';

const EXAMPLE_DELIVERY_ID = '019b2f70-5d2b-7c3f-9e21-7b6c5d4e3f20';

/** A body that may be left out or empty. */
@ApiSchema({ description: 'Nothing.' })
export class RetryDeliveryDto {}

/** A range of time whose events to send again. */
export class ResendEventsDto {
  @ApiProperty({ format: 'date-time', description: 'Events that happened at or after this time.' })
  @IsTime()
  created_gte!: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Events that happened before this time; now if left out.',
  })
  @IfGiven()
  @IsTime()
  created_lt?: string;

  @ApiPropertyOptional({ default: false, description: 'Leave out what has been delivered.' })
  @IfGiven()
  @IsTrueOrFalse()
  only_undelivered?: boolean;

  @ApiPropertyOptional({ description: 'The `next_cursor` of the answer before.' })
  @IfGiven()
  @IsSafeText(1, 100)
  cursor?: string;
}

export class ResentEventsDto {
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 42,
    description: 'How many events are on their way again.',
  })
  scheduled!: number;

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'Send the same request with it for the rest of the range; null when that was all.',
  })
  next_cursor!: string | null;
}

export class ListWebhookDeliveriesDto extends PageQueryDto {
  @ApiPropertyOptional({ enum: DELIVERY_STATUSES })
  @IsOptional()
  @IsIn(DELIVERY_STATUSES, { message: `must be one of ${DELIVERY_STATUSES.join(', ')}` })
  status?: DeliveryStatus;
}

/** One try, as the log shows it. */
class WebhookTryDto {
  @ApiProperty({ format: 'date-time' })
  tried_at!: string;

  @ApiProperty({ type: 'integer', minimum: 0, example: 87 })
  duration_ms!: number;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 204,
    description: 'Null when there was no answer.',
  })
  response_status!: number | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: '',
    description: 'The first 1024 bytes of the answer.',
  })
  response_body!: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description:
      'Why there was no answer: `timeout`, `address_not_allowed`, `ECONNREFUSED`, `CERT_HAS_EXPIRED`, …',
  })
  error!: string | null;
}

/** A delivery on the wire, with its log. */
export class WebhookDeliveryDto {
  @ApiProperty({ format: 'uuid', example: EXAMPLE_DELIVERY_ID })
  webhook_delivery_id!: string;

  @ApiProperty({ format: 'uuid', example: EXAMPLE_ENDPOINT_ID })
  webhook_endpoint_id!: string;

  @ApiProperty({ format: 'uuid', description: 'The `webhook-id` of every try.' })
  event_id!: string;

  @ApiProperty({ enum: EVENT_TYPES, example: 'payment.completed' })
  event_type!: EventType;

  @ApiProperty({ format: 'uuid', description: 'The payment that the event is of.' })
  transaction_id!: string;

  @ApiProperty({
    enum: DELIVERY_STATUSES,
    example: 'delivered',
    description:
      '`failed`: every try of the schedule has. `canceled`: the endpoint was disabled before its turn.',
  })
  status!: DeliveryStatus;

  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  tries_count!: number;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  next_try_at!: string | null;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ type: [WebhookTryDto], description: `The latest ${MAX_LISTED_TRIES}, newest first.` })
  tries!: WebhookTryDto[];
}

export class WebhookDeliveryPageDto extends PageAnswerDto {
  @ApiProperty({ type: [WebhookDeliveryDto] })
  data!: WebhookDeliveryDto[];
}

export function deliveryToWire(delivery: Delivery): WebhookDeliveryDto {
  return {
    webhook_delivery_id: delivery.webhookDeliveryId,
    webhook_endpoint_id: delivery.webhookEndpointId,
    event_id: delivery.eventId,
    event_type: delivery.eventType,
    transaction_id: delivery.transactionId,
    status: delivery.status,
    tries_count: delivery.triesCount,
    next_try_at: delivery.nextTryAt?.toISOString() ?? null,
    created_at: delivery.createdAt.toISOString(),
    tries: delivery.tries.map(tryToWire),
  };
}

function tryToWire(logged: LoggedTry): WebhookTryDto {
  return {
    tried_at: logged.triedAt.toISOString(),
    duration_ms: logged.durationMs,
    response_status: logged.responseStatus,
    response_body: logged.responseBody,
    error: logged.error,
  };
}
