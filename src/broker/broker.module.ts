import { Module } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { NATS_EVENT_SINK, NatsEventSink } from './nats-event.sink.js';

/** Publishes events to a broker, if one is configured. */
@Module({
  providers: [
    {
      provide: NATS_EVENT_SINK,
      inject: [CONFIG],
      useFactory: ({ eventsNats }: Config) => (eventsNats === null ? null : new NatsEventSink(eventsNats)),
    },
  ],
  exports: [NATS_EVENT_SINK],
})
export class BrokerModule {}
