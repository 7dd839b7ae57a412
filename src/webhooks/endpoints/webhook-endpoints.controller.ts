import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import {
  ApiBody,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import { CurrentMerchant } from '../../auth/merchant.decorator.js';
import { Scopes } from '../../auth/scopes.decorator.js';
import { RefusedError } from '../../domain/errors.js';
import { ApiProblems, KEYED_HEADERS, LOCATION_HEADER, REQUEST_ID_HEADER } from '../../http/api-docs.js';
import { Idempotent } from '../../idempotency/wire/idempotent.decorator.js';
import { Keyed, type KeyedRequest } from '../../idempotency/wire/keyed-request.js';
import type { Answer } from '../../idempotency/operation.js';
import { OperationRunner } from '../../idempotency/operation.runner.js';
import { pageOf, readCursor } from '../../http/cursor.js';
import { DEFAULT_PAGE_SIZE, PageQueryDto } from '../../http/page.dto.js';
import { EndpointAddresses } from './endpoint-addresses.js';
import { WebhookEndpointsStore } from './webhook-endpoints.store.js';
import {
  CreateWebhookEndpointDto,
  endpointToWire,
  RotateSecretDto,
  UpdateWebhookEndpointDto,
  WebhookEndpointDto,
  WebhookEndpointPageDto,
  WebhookEndpointWithSecretDto,
} from './webhook-endpoint.dto.js';

const HEADERS = REQUEST_ID_HEADER;

@ApiTags('Webhooks')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1/webhook-endpoints')
export class WebhookEndpointsController {
  constructor(
    private readonly runner: OperationRunner,
    private readonly endpoints: WebhookEndpointsStore,
    private readonly addresses: EndpointAddresses,
  ) {}

  @Post()
  @Scopes('webhooks:manage')
  @Idempotent({ operation: 'create_webhook_endpoint', policy: 'required' })
  @ApiOperation({ summary: 'Have events sent to a URL', operationId: 'createWebhookEndpoint' })
  @ApiCreatedResponse({
    type: WebhookEndpointWithSecretDto,
    description: 'The endpoint, and the secret that everything sent to it is signed with.',
    headers: { ...KEYED_HEADERS, ...LOCATION_HEADER },
  })
  @ApiProblems('malformed_body', 'validation_failed', 'payload_too_large', 'unsupported_media_type')
  @ApiProblems('webhook_endpoint_limit')
  create(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Body() { url, event_types = null, description = null }: CreateWebhookEndpointDto,
  ): Promise<Answer> {
    this.addresses.check(url);
    const body = { url, event_types, description };
    return this.runner.run({
      ...keyed,
      merchantId,
      body,
      command: { url, eventTypes: event_types, description },
    });
  }

  @Get()
  @Scopes('webhooks:manage')
  @ApiOperation({ summary: 'List webhook endpoints, newest first', operationId: 'listWebhookEndpoints' })
  @ApiOkResponse({ type: WebhookEndpointPageDto, headers: HEADERS })
  @ApiProblems('validation_failed', 'service_unavailable')
  async list(
    @CurrentMerchant() merchantId: string,
    @Query() { limit = DEFAULT_PAGE_SIZE, cursor }: PageQueryDto,
  ): Promise<WebhookEndpointPageDto> {
    const endpoints = await this.endpoints.list(merchantId, readCursor(cursor), limit + 1);
    return pageOf(endpoints.map(endpointToWire), limit, (endpoint) => endpoint.webhook_endpoint_id);
  }

  @Get(':webhook_endpoint_id')
  @Scopes('webhooks:manage')
  @ApiOperation({ summary: 'Read a webhook endpoint', operationId: 'getWebhookEndpoint' })
  @ApiOkResponse({ type: WebhookEndpointDto, headers: HEADERS })
  @ApiProblems('not_found', 'service_unavailable')
  async read(
    @CurrentMerchant() merchantId: string,
    @Param('webhook_endpoint_id') id: string,
  ): Promise<WebhookEndpointDto> {
    return endpointToWire(await this.endpoints.require(merchantId, id));
  }

  @Patch(':webhook_endpoint_id')
  @Scopes('webhooks:manage')
  @ApiOperation({
    summary: 'Change, disable or enable a webhook endpoint',
    operationId: 'updateWebhookEndpoint',
  })
  @ApiBody({ type: UpdateWebhookEndpointDto })
  @ApiOkResponse({ type: WebhookEndpointDto, headers: HEADERS })
  @ApiProblems('malformed_body', 'validation_failed', 'not_found', 'service_unavailable')
  @ApiProblems('payload_too_large', 'unsupported_media_type')
  async update(
    @CurrentMerchant() merchantId: string,
    @Param('webhook_endpoint_id') id: string,
    @Body() { url, event_types, description, enabled }: UpdateWebhookEndpointDto,
  ): Promise<WebhookEndpointDto> {
    if (url !== undefined) this.addresses.check(url);
    const endpoint = await this.endpoints.require(merchantId, id);
    await this.endpoints.update(endpoint, { url, eventTypes: event_types, description, enabled });
    return endpointToWire(await this.endpoints.require(merchantId, id));
  }

  @Delete(':webhook_endpoint_id')
  @Scopes('webhooks:manage')
  @HttpCode(204)
  @ApiOperation({
    summary: 'Delete a webhook endpoint: nothing more is sent there',
    operationId: 'deleteWebhookEndpoint',
  })
  @ApiNoContentResponse({ description: 'It is gone.', headers: HEADERS })
  @ApiProblems('not_found', 'service_unavailable')
  async delete(
    @CurrentMerchant() merchantId: string,
    @Param('webhook_endpoint_id') id: string,
  ): Promise<void> {
    const endpoint = await this.endpoints.require(merchantId, id);
    const deleted = await this.endpoints.delete(endpoint);
    if (!deleted) throw new RefusedError({ code: 'not_found', what: 'webhook endpoint' });
  }

  @Post(':webhook_endpoint_id/rotate-secret')
  @Scopes('webhooks:manage')
  @Idempotent({ operation: 'rotate_webhook_secret', policy: 'required' })
  @ApiOperation({
    summary: 'Give a webhook endpoint a new secret; the old one signs as well for 24 hours',
    operationId: 'rotateWebhookSecret',
  })
  @ApiBody({ type: RotateSecretDto, required: false })
  @ApiOkResponse({ type: WebhookEndpointWithSecretDto, headers: KEYED_HEADERS })
  @ApiProblems('malformed_body', 'validation_failed', 'not_found')
  @ApiProblems('payload_too_large', 'unsupported_media_type')
  async rotate(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Param('webhook_endpoint_id') id: string,
    @Body() _nothing: RotateSecretDto,
  ): Promise<Answer> {
    const { webhookEndpointId } = await this.endpoints.require(merchantId, id);
    return this.runner.run({
      ...keyed,
      merchantId,
      params: { webhookEndpointId },
      body: {},
      command: { webhookEndpointId },
    });
  }
}
