import { Injectable } from '@nestjs/common';

/** The time, where the database's clock does not decide. Injected, so that a test can replace it. */
@Injectable()
export class Clock {
  now(): Date {
    return new Date();
  }

  /** Milliseconds that never go backwards, to measure durations. */
  monotonicMs(): number {
    return performance.now();
  }
}
