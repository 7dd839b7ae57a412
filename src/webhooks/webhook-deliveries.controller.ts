import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { Scopes } from '../auth/scopes.decorator.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { WebhookRedelivery } from './webhook-redelivery.js';
import { deliveryToWire, RetryDeliveryDto, WebhookDeliveryDto } from './webhook.dto.js';

@ApiTags('Webhooks')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1/webhook-deliveries')
export class WebhookDeliveriesController {
  constructor(private readonly redelivery: WebhookRedelivery) {}

  @Post(':webhook_delivery_id/retry')
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
