import { ApiProperty, ApiPropertyOptional, ApiSchema, type ApiPropertyOptions } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayMinSize, ArrayUnique, IsArray, IsIn, IsOptional } from 'class-validator';
import { EVENT_TYPES, type EventType } from '../../events/event.js';
import { IfGiven, IsSafeText, IsTrueOrFalse } from '../../http/field-validators.js';
import { PageAnswerDto } from '../../http/page.dto.js';
import { MAX_URL_LENGTH } from './endpoint-addresses.js';
import {
  DISABLED_REASONS,
  type DisabledReason,
  type WebhookEndpointEntity,
} from './webhook-endpoint.entity.js';

const MAX_DESCRIPTION_LENGTH = 500;
export const EXAMPLE_ENDPOINT_ID = '019b2f70-3c1a-7b2e-8d10-6a5b4c3d2e1f';
const EXAMPLE_URL = 'https://shop.example.com/webhooks';
const TYPES_RULE = { message: `must be a list of different types out of ${EVENT_TYPES.join(', ')}` };

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
  url!: string;

  @ApiPropertyOptional(TYPES_FIELD)
  @IsOptional()
  @IsEventTypes()
  event_types?: EventType[] | null;

  @ApiPropertyOptional(DESCRIPTION_FIELD)
  @IsOptional()
  @IsSafeText(0, MAX_DESCRIPTION_LENGTH)
  description?: string | null;
}

/** The fields to change. A field left out stays as it is. */
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
  @IsTrueOrFalse()
  enabled?: boolean;
}

/** The body of a rotation: nothing, or `{}`. */
@ApiSchema({ description: 'Nothing.' })
export class RotateSecretDto {}

/** An endpoint on the wire. */
export class WebhookEndpointDto {
  @ApiProperty({ format: 'uuid', example: EXAMPLE_ENDPOINT_ID })
  webhook_endpoint_id!: string;

  @ApiProperty({ example: EXAMPLE_URL })
  url!: string;

  @ApiProperty(TYPES_FIELD)
  event_types!: EventType[] | null;

  @ApiProperty(DESCRIPTION_FIELD)
  description!: string | null;

  @ApiProperty({ example: true })
  enabled!: boolean;

  @ApiProperty({
    enum: DISABLED_REASONS,
    nullable: true,
    example: null,
    description:
      '`requested`: by you. `gone`: it answered 410. `failing`: nothing has arrived there for days.',
  })
  disabled_reason!: DisabledReason | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'The first failed try since the last success; null when the last try succeeded.',
  })
  failing_since!: string | null;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'Until then everything is signed with the secret before as well.',
  })
  previous_secret_expires_at!: string | null;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ format: 'date-time' })
  updated_at!: string;
}

/** An endpoint with its secret. */
export class WebhookEndpointWithSecretDto extends WebhookEndpointDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
    description:
      'Shown here and nowhere else. Null when the key is used again after its answer has been deleted.',
  })
  secret!: string | null;
}

export class WebhookEndpointPageDto extends PageAnswerDto {
  @ApiProperty({ type: [WebhookEndpointDto] })
  data!: WebhookEndpointDto[];
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
