import { Global, Module } from '@nestjs/common';
import { BrokerModule } from '../broker/broker.module.js';
import { NATS_EVENT_SINK } from '../broker/nats-event.sink.js';
import { WebhookDeliveryModule } from '../webhooks/delivery/webhook-delivery.module.js';
import { WebhooksSink } from '../webhooks/delivery/webhooks.sink.js';
import { Clock } from '../time/clock.js';
import { EventOutboxStore } from './event-outbox.store.js';
import { EventRelay } from './event-relay.js';
import { EVENT_SINKS, type EventSink } from './event-sink.js';
import { EventsController } from './events.controller.js';
import { EventsStore } from './events.store.js';
import { RelayMetrics } from './relay-metrics.js';

/** What happened, and its way out. Global, since whoever settles something writes an event. */
@Global()
@Module({
  imports: [BrokerModule, WebhookDeliveryModule],
  controllers: [EventsController],
  providers: [
    // Every sink of the process, in one place. A sink that is not configured is null.
    {
      provide: EVENT_SINKS,
      inject: [WebhooksSink, NATS_EVENT_SINK],
      useFactory: (...sinks: (EventSink | null)[]) => sinks.filter((sink) => sink !== null),
    },
    Clock,
    EventsStore,
    EventOutboxStore,
    RelayMetrics,
    EventRelay,
  ],
  exports: [Clock, EventsStore, EventRelay, RelayMetrics],
})
export class EventsModule {}
