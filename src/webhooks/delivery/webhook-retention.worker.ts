import {
  Inject,
  Injectable,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { Worker } from '../../time/worker.js';
import { WebhookDeliveriesStore } from './webhook-deliveries.store.js';
import { WebhookEndpointsStore } from '../endpoints/webhook-endpoints.store.js';

/** Small enough that a batch is one short transaction. */
const BATCH_SIZE = 1_000;
const INTERVAL_MS = 600_000;

/** Deletes deliveries and their log after the retention, then the rows of deleted endpoints that have none left. */
@Injectable()
export class WebhookRetentionWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly worker = Worker.every(WebhookRetentionWorker.name, INTERVAL_MS, () => this.runOnce());

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

  async runOnce(): Promise<void> {
    const { retentionMs } = this.config.webhooks;
    while ((await this.deliveries.reap(retentionMs, BATCH_SIZE)) === BATCH_SIZE);
    while ((await this.endpoints.reap(BATCH_SIZE)) === BATCH_SIZE);
  }
}
