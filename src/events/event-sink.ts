import { Injectable } from '@nestjs/common';
import type { OutboxEvent } from './event.js';

/** Where committed events go. Handing one on again must be harmless: a relay may die between doing it and noting it. */
export interface EventSink {
  /** Stored with each outbox row. Never rename one. */
  readonly name: string;
  /** Resolves when all of them are safe with the sink; the relay forgets them then. Throws to be asked again. */
  handOn(events: readonly OutboxEvent[]): Promise<void>;
}

/** The event sinks of this process. They are listed in `app.module.ts`, and registered before the relay starts. */
@Injectable()
export class EventSinks {
  private readonly sinks: EventSink[] = [];

  register(sinks: readonly EventSink[]): void {
    this.sinks.push(...sinks);
  }

  all(): readonly EventSink[] {
    return this.sinks;
  }

  names(): readonly string[] {
    return this.sinks.map(({ name }) => name);
  }
}
