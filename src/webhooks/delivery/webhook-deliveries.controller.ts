import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../../auth/merchant.decorator.js';
import { Scopes } from '../../auth/scopes.decorator.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../../http/api-docs.js';
import { pageOf, readCursor, writeCursor } from '../../http/cursor.js';
import { DEFAULT_PAGE_SIZE } from '../../http/page.dto.js';
import { Clock } from '../../time/clock.js';
import {
  deliveryToWire,
  ListWebhookDeliveriesDto,
  ResendEventsDto,
  ResentEventsDto,
  RetryDeliveryDto,
  WebhookDeliveryDto,
  WebhookDeliveryPageDto,
} from './webhook-delivery.dto.js';
import { WebhookEndpointsStore } from '../endpoints/webhook-endpoints.store.js';
import { WebhookLogStore } from './webhook-log.store.js';
import { WebhookRedelivery } from './webhook-redelivery.js';

@ApiTags('Webhooks')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1')
export class WebhookDeliveriesController {
  constructor(
    private readonly endpoints: WebhookEndpointsStore,
    private readonly log: WebhookLogStore,
    private readonly redelivery: WebhookRedelivery,
    private readonly clock: Clock,
  ) {}

  @Get('webhook-endpoints/:webhook_endpoint_id/deliveries')
  @Scopes('webhooks:manage')
  @ApiOperation({
    summary: "List an endpoint's deliveries with the log of their tries, newest first",
    operationId: 'listWebhookDeliveries',
  })
  @ApiOkResponse({ type: WebhookDeliveryPageDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('validation_failed', 'not_found', 'service_unavailable')
  async list(
    @CurrentMerchant() merchantId: string,
    @Param('webhook_endpoint_id') id: string,
    @Query() { limit = DEFAULT_PAGE_SIZE, cursor, status }: ListWebhookDeliveriesDto,
  ): Promise<WebhookDeliveryPageDto> {
    const before = readCursor(cursor);
    const endpoint = await this.endpoints.require(merchantId, id);
    const deliveries = await this.log.list(endpoint, { status, before }, limit + 1);
    const page = pageOf(deliveries, limit, (delivery) => delivery.webhookDeliveryId);
    const ids = page.data.map(({ webhookDeliveryId }) => webhookDeliveryId);
    const tries = await this.log.tries(merchantId, ids);
    const logged = page.data.map((delivery) => ({
      ...delivery,
      tries: tries.get(delivery.webhookDeliveryId) ?? [],
    }));
    return { data: logged.map(deliveryToWire), next_cursor: page.next_cursor };
  }

  @Post('webhook-endpoints/:webhook_endpoint_id/resend')
  @Scopes('webhooks:manage')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Send the events of a range of time again, oldest first',
    operationId: 'resendWebhookEvents',
    description:
      'Also those that were never sent, as while the endpoint was disabled. Sending this twice sends the events twice, ' +
      'under the same ids, so it needs no key.',
  })
  @ApiResponse({ status: 202, type: ResentEventsDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('malformed_body', 'validation_failed', 'not_found', 'webhook_endpoint_disabled')
  @ApiProblems('payload_too_large', 'unsupported_media_type', 'service_unavailable')
  async resend(
    @CurrentMerchant() merchantId: string,
    @Param('webhook_endpoint_id') id: string,
    @Body() { created_gte, created_lt, only_undelivered = false, cursor }: ResendEventsDto,
  ): Promise<ResentEventsDto> {
    const after = readCursor(cursor);
    const endpoint = await this.endpoints.require(merchantId, id);
    const { scheduled, last } = await this.redelivery.resend(endpoint, {
      createdGte: new Date(created_gte),
      createdLt: created_lt === undefined ? this.clock.now() : new Date(created_lt),
      onlyUndelivered: only_undelivered,
      after,
    });
    return { scheduled, next_cursor: last === null ? null : writeCursor(last) };
  }

  @Post('webhook-deliveries/:webhook_delivery_id/retry')
  @Scopes('webhooks:manage')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Send an event again, now, whatever became of it before',
    operationId: 'retryWebhookDelivery',
    description: 'Sending this twice sends the event at most twice, under the same id, so it needs no key.',
  })
  @ApiBody({ type: RetryDeliveryDto, required: false })
  @ApiResponse({
    status: 202,
    type: WebhookDeliveryDto,
    description: 'It is on its way, at the start of the schedule.',
    headers: REQUEST_ID_HEADER,
  })
  @ApiProblems('malformed_body', 'validation_failed', 'not_found', 'webhook_endpoint_disabled')
  @ApiProblems('payload_too_large', 'unsupported_media_type', 'service_unavailable')
  async retry(
    @CurrentMerchant() merchantId: string,
    @Param('webhook_delivery_id') id: string,
    @Body() _nothing: RetryDeliveryDto,
  ): Promise<WebhookDeliveryDto> {
    return deliveryToWire(await this.redelivery.retry(merchantId, id));
  }
}
