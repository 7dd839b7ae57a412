import { Module } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { NATS_EVENT_SINK, NatsEventSink } from './nats-event.sink.js';

/** The way to a broker, when there is one. */
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
