import { Module } from '@nestjs/common';
import { EventOutboxStore } from './event-outbox.store.js';
import { EventRelay } from './event-relay.js';
import { EventSinks } from './event-sink.js';
import { EventsController } from './events.controller.js';
import { EventsSettlementSink } from './events-settlement.sink.js';
import { EventsStore } from './events.store.js';
import { RelayMetrics } from './relay-metrics.js';

/** What happened, and how it gets out. */
@Module({
  controllers: [EventsController],
  providers: [EventSinks, EventsStore, EventsSettlementSink, EventOutboxStore, RelayMetrics, EventRelay],
  exports: [EventSinks, EventsSettlementSink, RelayMetrics],
})
export class EventsModule {}
