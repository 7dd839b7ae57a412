import { Injectable } from '@nestjs/common';
import type { OutboxEvent } from './event.js';

/**
 * Where committed events go. It must be harmless to hand an event on twice: a relay may die before it records that it
 * handed it on.
 */
export interface EventSink {
  /** Stored with each outbox row. Never rename one. */
  readonly name: string;
  /**
   * SQL that is true if the sink wants the event `e`, which has `merchant_id` and `type`. Without it, the sink gets all
   * events. It is part of the statement that writes the event, so nothing is remembered that could be out of date.
   */
  readonly wants?: string;
  /** Resolves when the sink has stored all of them; then the relay forgets them. Throws to get them again. */
  handOn(events: readonly OutboxEvent[]): Promise<void>;
}

/** The event sinks of this process. `app.module.ts` lists them and registers them before the relay starts. */
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

  /** SQL that is true if the sink whose name is `name` wants the event `e`. */
  wants(name: string): string {
    const cases = this.sinks.flatMap((sink) =>
      sink.wants === undefined ? [] : [`WHEN '${sink.name}' THEN ${sink.wants}`],
    );
    return cases.length === 0 ? 'true' : `CASE ${name} ${cases.join(' ')} ELSE true END`;
  }
}
