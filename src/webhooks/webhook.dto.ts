import { ApiProperty, ApiPropertyOptional, ApiSchema, type ApiPropertyOptions } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsBoolean,
  IsIn,
  IsOptional,
  ValidateIf,
} from 'class-validator';
import { IsSafeText, IsTime } from '../http/field-validators.js';
import { PageAnswerDto, PageQueryDto } from '../http/page.dto.js';
import { MAX_URL_LENGTH } from './endpoint-addresses.js';
import type { LoggedTry } from './webhook-deliveries.store.js';
import { DELIVERY_STATUSES, type DeliveryStatus } from './webhook-delivery.entity.js';
import {
  DISABLED_REASONS,
  type DisabledReason,
  type WebhookEndpointEntity,
} from './webhook-endpoint.entity.js';
import { EVENT_TYPES, type EventType } from '../events/events.store.js';
import { MAX_LISTED_TRIES, type Delivery } from './webhook-log.store.js';

const MAX_DESCRIPTION_LENGTH = 500;
const EXAMPLE_ENDPOINT_ID = '019b2f70-3c1a-7b2e-8d10-6a5b4c3d2e1f';
const EXAMPLE_DELIVERY_ID = '019b2f70-5d2b-7c3f-9e21-7b6c5d4e3f20';
const EXAMPLE_URL = 'https://shop.example.com/webhooks';

const TYPES_RULE = { message: `must be a list of different types out of ${EVENT_TYPES.join(', ')}` };
const BOOLEAN_RULE = { message: 'must be true or false' };

/** Left out is not the same as null, which `@IsOptional()` lets through. */
const IfGiven = (): PropertyDecorator => ValidateIf((_dto, value) => value !== undefined);

function IsEventTypes(): PropertyDecorator {
  const rules = [
    IsArray(TYPES_RULE),
    ArrayMinSize(1, TYPES_RULE),
    ArrayMaxSize(EVENT_TYPES.length, TYPES_RULE),
    ArrayUnique(TYPES_RULE),
    IsIn(EVENT_TYPES, { ...TYPES_RULE, each: true }),
  ];
  return (target, property) => rules.forEach((rule) => rule(target, property));
}

const URL_FIELD = {
  example: EXAMPLE_URL,
  maxLength: MAX_URL_LENGTH,
  description:
    'https, on the public internet; in the sandbox anything. Without user name, password and fragment.',
} as const;
const TYPES_FIELD: ApiPropertyOptions = {
  type: 'array',
  items: { type: 'string', enum: [...EVENT_TYPES] },
  nullable: true,
  example: ['payment.completed', 'refund.completed'],
  description: 'Which events are sent; null for all, those included that are yet to be invented.',
};
const DESCRIPTION_FIELD = {
  type: String,
  nullable: true,
  maxLength: MAX_DESCRIPTION_LENGTH,
  example: 'The shop',
} as const;

export class CreateWebhookEndpointDto {
  @ApiProperty(URL_FIELD)
  @IsSafeText(1, MAX_URL_LENGTH)
  url: string;

  @ApiPropertyOptional(TYPES_FIELD)
  @IsOptional()
  @IsEventTypes()
  event_types?: EventType[] | null;

  @ApiPropertyOptional(DESCRIPTION_FIELD)
  @IsOptional()
  @IsSafeText(0, MAX_DESCRIPTION_LENGTH)
  description?: string | null;
}

/** What is to change. What is left out stays. */
export class UpdateWebhookEndpointDto {
  @ApiPropertyOptional(URL_FIELD)
  @IfGiven()
  @IsSafeText(1, MAX_URL_LENGTH)
  url?: string;

  @ApiPropertyOptional(TYPES_FIELD)
  @IsOptional()
  @IsEventTypes()
  event_types?: EventType[] | null;

  @ApiPropertyOptional(DESCRIPTION_FIELD)
  @IsOptional()
  @IsSafeText(0, MAX_DESCRIPTION_LENGTH)
  description?: string | null;

  @ApiPropertyOptional({
    description: 'false: nothing is sent, and what waits is canceled at its turn. true: from now on.',
  })
  @IfGiven()
  @IsBoolean(BOOLEAN_RULE)
  enabled?: boolean;
}

/** The body of a rotation: nothing, or `{}`. */
@ApiSchema({ description: 'Nothing.' })
export class RotateSecretDto {}

/** A body that may be left out or empty. */
@ApiSchema({ description: 'Nothing.' })
export class RetryDeliveryDto {}

/** A range of time whose events are to be sent again. */
export class ResendEventsDto {
  @ApiProperty({ format: 'date-time', description: 'Events that happened at or after this time.' })
  @IsTime()
  created_gte: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Events that happened before this time; now if left out.',
  })
  @IfGiven()
  @IsTime()
  created_lt?: string;

  @ApiPropertyOptional({ default: false, description: 'Leave out what has been delivered.' })
  @IfGiven()
  @IsBoolean(BOOLEAN_RULE)
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
  scheduled: number;

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'Send the same request with it for the rest of the range; null when that was all.',
  })
  next_cursor: string | null;
}

/** An endpoint on the wire. */
export class WebhookEndpointDto {
  @ApiProperty({ format: 'uuid', example: EXAMPLE_ENDPOINT_ID })
  webhook_endpoint_id: string;

  @ApiProperty({ example: EXAMPLE_URL })
  url: string;

  @ApiProperty(TYPES_FIELD)
  event_types: EventType[] | null;

  @ApiProperty(DESCRIPTION_FIELD)
  description: string | null;

  @ApiProperty({ example: true })
  enabled: boolean;

  @ApiProperty({
    enum: DISABLED_REASONS,
    nullable: true,
    example: null,
    description:
      '`requested`: by you. `gone`: it answered 410. `failing`: nothing has arrived there for days.',
  })
  disabled_reason: DisabledReason | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'The first failed try since the last success; null when the last try succeeded.',
  })
  failing_since: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'Until then everything is signed with the secret before as well.',
  })
  previous_secret_expires_at: string | null;

  @ApiProperty({ format: 'date-time' })
  created_at: string;

  @ApiProperty({ format: 'date-time' })
  updated_at: string;
}

/** An endpoint whose secret is shown. */
export class WebhookEndpointWithSecretDto extends WebhookEndpointDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
    description:
      'Shown here and nowhere else. Null when the key is used again after its answer has been deleted.',
  })
  secret: string | null;
}

export class WebhookEndpointPageDto extends PageAnswerDto {
  @ApiProperty({ type: [WebhookEndpointDto] })
  data: WebhookEndpointDto[];
}

export class ListWebhookDeliveriesDto extends PageQueryDto {
  @ApiPropertyOptional({ enum: DELIVERY_STATUSES })
  @IsOptional()
  @IsIn(DELIVERY_STATUSES, { message: `must be one of ${DELIVERY_STATUSES.join(', ')}` })
  status?: DeliveryStatus;
}

/** One try: a line of the log. */
export class WebhookTryDto {
  @ApiProperty({ format: 'date-time' })
  tried_at: string;

  @ApiProperty({ type: 'integer', minimum: 0, example: 87 })
  duration_ms: number;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 204,
    description: 'Null when there was no answer.',
  })
  response_status: number | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: '',
    description: 'The first 1024 bytes of the answer.',
  })
  response_body: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description:
      'Why there was no answer: `timeout`, `address_not_allowed`, `ECONNREFUSED`, `CERT_HAS_EXPIRED`, …',
  })
  error: string | null;
}

/** A delivery on the wire, with its log. */
export class WebhookDeliveryDto {
  @ApiProperty({ format: 'uuid', example: EXAMPLE_DELIVERY_ID })
  webhook_delivery_id: string;

  @ApiProperty({ format: 'uuid', example: EXAMPLE_ENDPOINT_ID })
  webhook_endpoint_id: string;

  @ApiProperty({ format: 'uuid', description: 'The `webhook-id` of every try.' })
  event_id: string;

  @ApiProperty({ enum: EVENT_TYPES, example: 'payment.completed' })
  event_type: EventType;

  @ApiProperty({ format: 'uuid', description: 'The payment that the event is of.' })
  transaction_id: string;

  @ApiProperty({
    enum: DELIVERY_STATUSES,
    example: 'delivered',
    description:
      '`failed`: every try of the schedule has. `canceled`: the endpoint was disabled before its turn.',
  })
  status: DeliveryStatus;

  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  tries_count: number;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  next_try_at: string | null;

  @ApiProperty({ format: 'date-time' })
  created_at: string;

  @ApiProperty({ type: [WebhookTryDto], description: `The latest ${MAX_LISTED_TRIES}, newest first.` })
  tries: WebhookTryDto[];
}

export class WebhookDeliveryPageDto extends PageAnswerDto {
  @ApiProperty({ type: [WebhookDeliveryDto] })
  data: WebhookDeliveryDto[];
}

export function endpointToWire(endpoint: WebhookEndpointEntity): WebhookEndpointDto {
  const { previousSecretExpiresAt: expiresAt } = endpoint;
  return {
    webhook_endpoint_id: endpoint.webhookEndpointId,
    url: endpoint.url,
    event_types: endpoint.eventTypes,
    description: endpoint.description,
    enabled: endpoint.enabled,
    disabled_reason: endpoint.disabledReason,
    failing_since: endpoint.failingSince?.toISOString() ?? null,
    previous_secret_expires_at: expiresAt?.toISOString() ?? null,
    created_at: endpoint.createdAt.toISOString(),
    updated_at: endpoint.updatedAt.toISOString(),
  };
}

export function endpointWithSecretToWire(
  endpoint: WebhookEndpointEntity,
  secret: string | null,
): WebhookEndpointWithSecretDto {
  return Object.assign(endpointToWire(endpoint), { secret });
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
