import { Logger } from '@nestjs/common';

/**
 * Runs `runOnce` again and again, never twice at once, until stopped. A run that fails is logged and tried again at
 * the next time: the next run finds whatever this one left.
 */
export class Periodic {
  private readonly logger: Logger;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    name: string,
    private readonly intervalMs: number,
    private readonly runOnce: () => Promise<unknown>,
  ) {
    this.logger = new Logger(name);
  }

  start(): void {
    this.timer = setTimeout(() => {
      this.running = this.run();
    }, this.intervalMs);
  }

  /** Resolves when no run is under way any more. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private async run(): Promise<void> {
    try {
      await this.runOnce();
    } catch (error) {
      this.logger.warn(`will try again in ${this.intervalMs} ms: ${String(error)}`);
    }
    if (!this.stopped) this.start();
  }
}
