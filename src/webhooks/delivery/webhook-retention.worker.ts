import {
  Inject,
  Injectable,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { Periodic } from '../../time/periodic.js';
import { WebhookDeliveriesStore } from './webhook-deliveries.store.js';
import { WebhookEndpointsStore } from '../endpoints/webhook-endpoints.store.js';

/** A batch is one short transaction. */
const BATCH_SIZE = 1_000;
const INTERVAL_MS = 600_000;

/** Deletes deliveries with their log when their time is over, and then what is left of deleted endpoints. */
@Injectable()
export class WebhookRetentionWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly schedule = new Periodic(WebhookRetentionWorker.name, INTERVAL_MS, () => this.runOnce());

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly deliveries: WebhookDeliveriesStore,
    private readonly endpoints: WebhookEndpointsStore,
  ) {}

  onApplicationBootstrap(): void {
    this.schedule.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.schedule.stop();
  }

  async runOnce(): Promise<void> {
    const { retentionMs } = this.config.webhooks;
    while ((await this.deliveries.reap(retentionMs, BATCH_SIZE)) === BATCH_SIZE);
    while ((await this.endpoints.reap(BATCH_SIZE)) === BATCH_SIZE);
  }
}
