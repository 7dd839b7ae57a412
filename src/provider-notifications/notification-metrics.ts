import { Injectable } from '@nestjs/common';
import { Counter } from 'prom-client';
import type { GatewayName } from '../config/config.js';
import { Metrics } from '../metrics/metrics.js';

/**
 * What a notification did. `hastened`: a call with an unknown outcome is inquired about at once. `nothing_open`: no
 * call waits for it, as for every payment that ended well. `unrelated`: it names no payment of ours.
 */
type NotificationResult = 'hastened' | 'nothing_open' | 'unrelated' | 'duplicate' | 'refused';

@Injectable()
export class NotificationMetrics {
  private readonly received: Counter<'gateway' | 'result'>;

  constructor({ registry }: Metrics) {
    this.received = new Counter({
      name: 'hapax_gateway_notifications_total',
      help: 'Notifications of the payment provider, by gateway and what they brought about.',
      labelNames: ['gateway', 'result'],
      registers: [registry],
    });
  }

  count(gateway: GatewayName, result: NotificationResult): void {
    this.received.inc({ gateway, result });
  }
}
