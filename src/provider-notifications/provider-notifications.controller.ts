import type { IncomingHttpHeaders } from 'node:http';
import { Body, Controller, Headers, HttpCode, Param, Post } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiBody, ApiHeader, ApiNoContentResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Public } from '../http/public.decorator.js';
import { GATEWAY_NAMES } from '../config/config.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { RAW_BODY } from '../http/raw-body.js';
import { ProviderNotifications } from './provider-notifications.js';

const STRING = { type: 'string' } as const;

/**
 * Where payment providers report that something happened. They have no API key: the signature says who they are. They
 * are not rate-limited by address either, because a provider sends thousands in a burst from a few addresses, and a
 * forged notification costs one hash and no statement.
 */
@ApiTags('Gateways')
@Public()
@Controller('v1/gateways')
export class ProviderNotificationsController {
  constructor(private readonly notifications: ProviderNotifications) {}

  @Post(':gateway/notifications')
  @HttpCode(204)
  @RouteConfig(RAW_BODY)
  @ApiOperation({
    summary: "A payment provider's notification",
    description:
      "For the provider, not for merchants. The signature over the body's bytes is checked: Stripe's by its own package, the sandbox's " +
      'as Standard Webhooks says. Each event acts once, however often it is sent: it makes the service ask the provider at once what ' +
      'became of a call whose outcome is unknown. What the body says of an outcome is not believed.',
    operationId: 'receiveGatewayNotification',
  })
  @ApiParam({ name: 'gateway', description: 'The gateway that the service uses.', enum: GATEWAY_NAMES })
  @ApiHeader({ name: 'Stripe-Signature', required: false, description: "Stripe's.", schema: STRING })
  @ApiHeader({
    name: 'Webhook-Id',
    required: false,
    description: "The sandbox's: the event.",
    schema: STRING,
  })
  @ApiHeader({ name: 'Webhook-Timestamp', required: false, description: "The sandbox's.", schema: STRING })
  @ApiHeader({ name: 'Webhook-Signature', required: false, description: "The sandbox's.", schema: STRING })
  @ApiBody({ description: 'An event in the words of the provider.', schema: { type: 'object' } })
  @ApiNoContentResponse({
    description: 'Taken in. The provider need not send it again.',
    headers: REQUEST_ID_HEADER,
  })
  @ApiProblems('notification_signature_invalid', 'malformed_body', 'not_found', 'payload_too_large')
  @ApiProblems('unsupported_media_type', 'service_unavailable', 'internal_error')
  async receive(
    @Param('gateway') gateway: string,
    @Headers() headers: IncomingHttpHeaders,
    @Body() body?: Buffer,
  ): Promise<void> {
    await this.notifications.receive(gateway, body ?? NO_BODY, headers);
  }
}

const NO_BODY = Buffer.alloc(0);
