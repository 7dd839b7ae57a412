import { Injectable } from '@nestjs/common';

/** Time for what the database's clock does not decide. Injected, so that a test may stand in for it. */
@Injectable()
export class Clock {
  now(): Date {
    return new Date();
  }

  /** Milliseconds that only ever go forward; for durations. */
  monotonicMs(): number {
    return performance.now();
  }
}
