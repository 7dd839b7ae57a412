import { Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { workAtLeisure, type DutyCycle } from '../time/duty-cycle.js';
import { Worker } from '../time/worker.js';
import { ProviderNotificationsStore } from './provider-notifications.store.js';

/** A batch is one short transaction: charges never wait for a large delete. */
const BATCH_SIZE = 200;
/** A charge has few notifications, and nobody waits until old ones are gone. */
const DUTY_CYCLE: DutyCycle = { share: 0.2, longestRestMs: 1_000 };
const INTERVAL_MS = 60_000;
/**
 * Longer than a provider resends an event: Stripe tries for three days, and for thirty when asked to. A later copy
 * counts as new again, and finds no call that waits for it.
 */
const RETENTION_MS = 31 * 24 * 3_600_000;

/** Deletes notifications that their provider does not resend any more. */
@Injectable()
export class NotificationRetentionWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly worker = Worker.every(NotificationRetentionWorker.name, INTERVAL_MS, (stopping) =>
    this.runOnce(stopping),
  );

  constructor(private readonly notifications: ProviderNotificationsStore) {}

  onApplicationBootstrap(): void {
    this.worker.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.worker.stop();
  }

  /** Deletes in batches until nothing is due, and rests in between. */
  runOnce(stopping?: AbortSignal): Promise<void> {
    return workAtLeisure(
      DUTY_CYCLE,
      async () => (await this.notifications.reap(RETENTION_MS, BATCH_SIZE)) === BATCH_SIZE,
      stopping,
    );
  }
}
