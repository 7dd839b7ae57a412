import {
  Inject,
  Injectable,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { workAtLeisure, type DutyCycle } from '../../time/duty-cycle.js';
import { Worker } from '../../time/worker.js';
import { WebhookDeliveriesStore } from './webhook-deliveries.store.js';
import { WebhookEndpointsStore } from '../endpoints/webhook-endpoints.store.js';

/** Small enough that a batch is one short transaction. */
const BATCH_SIZE = 200;
/** A delivery costs several times as much to delete as an answer, since its tries go with it. */
const DUTY_CYCLE: DutyCycle = { share: 0.2, longestRestMs: 1_000 };
const INTERVAL_MS = 600_000;

/** Deletes deliveries and their log after the retention, then the rows of deleted endpoints that have none left. */
@Injectable()
export class WebhookRetentionWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly worker = Worker.every(WebhookRetentionWorker.name, INTERVAL_MS, (stopping) =>
    this.runOnce(stopping),
  );

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly deliveries: WebhookDeliveriesStore,
    private readonly endpoints: WebhookEndpointsStore,
  ) {}

  onApplicationBootstrap(): void {
    this.worker.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.worker.stop();
  }

  async runOnce(stopping?: AbortSignal): Promise<void> {
    const { retentionMs } = this.config.webhooks;
    const reapers = [
      () => this.deliveries.reap(retentionMs, BATCH_SIZE),
      () => this.endpoints.reap(BATCH_SIZE),
    ];
    for (const reap of reapers)
      await workAtLeisure(DUTY_CYCLE, async () => (await reap()) === BATCH_SIZE, stopping);
  }
}
