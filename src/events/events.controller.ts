import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { validate as isUuid } from 'uuid';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { Scopes } from '../auth/scopes.decorator.js';
import { RefusedError } from '../domain/errors.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { pageOf, readCursor } from '../http/cursor.js';
import { DEFAULT_PAGE_SIZE } from '../http/page.dto.js';
import { EventDto, EventPageDto, eventToWire, ListEventsDto } from './event.dto.js';
import { EventsStore } from './events.store.js';

@ApiTags('Events')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1/events')
export class EventsController {
  constructor(private readonly events: EventsStore) {}

  @Get()
  @Scopes('payments:read')
  @ApiOperation({ summary: 'List events, newest first', operationId: 'listEvents' })
  @ApiOkResponse({ type: EventPageDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('validation_failed', 'service_unavailable')
  async list(@CurrentMerchant() merchantId: string, @Query() query: ListEventsDto): Promise<EventPageDto> {
    const limit = query.limit ?? DEFAULT_PAGE_SIZE;
    const filter = {
      type: query.type,
      transactionId: query.transaction_id,
      createdGte: query.created_gte === undefined ? undefined : new Date(query.created_gte),
      createdLt: query.created_lt === undefined ? undefined : new Date(query.created_lt),
      before: readCursor(query.cursor),
    };
    const events = await this.events.list(merchantId, filter, limit + 1);
    return pageOf(events.map(eventToWire), limit, (event) => event.event_id);
  }

  @Get(':event_id')
  @Scopes('payments:read')
  @ApiOperation({ summary: 'Read an event', operationId: 'getEvent' })
  @ApiOkResponse({ type: EventDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('not_found', 'service_unavailable')
  async read(@CurrentMerchant() merchantId: string, @Param('event_id') eventId: string): Promise<EventDto> {
    const event = isUuid(eventId) ? await this.events.find(merchantId, eventId) : null;
    if (event === null) throw new RefusedError({ code: 'not_found', what: 'event' });
    return eventToWire(event);
  }
}
