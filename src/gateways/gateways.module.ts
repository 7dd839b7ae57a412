import { Global, Module } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { Gateway } from './gateway.js';
import { GatewayMetrics } from './gateway-metrics.js';
import { NotificationReader } from './notification-reader.js';
import { ResilientGateway } from './resilient.gateway.js';
import { SandboxGatewayHost } from './sandbox/sandbox-gateway.host.js';
import { SandboxNotificationReader } from './sandbox/sandbox-notification-reader.js';
import { SandboxHttpGateway } from './sandbox/sandbox-http.gateway.js';
import { SandboxGateway } from './sandbox/sandbox.gateway.js';
import { StripeNotificationReader } from './stripe/stripe-notification-reader.js';
import { StripeGateway } from './stripe/stripe.gateway.js';
import { UnconfiguredGateway } from './unconfigured.gateway.js';

/** Which gateway moves the money. Outside the sandbox none is assumed, so that no money goes to a pretend provider. */
@Global()
@Module({
  providers: [
    GatewayMetrics,
    SandboxGatewayHost,
    {
      provide: Gateway,
      inject: [CONFIG, GatewayMetrics, SandboxGatewayHost],
      useFactory: (config: Config, metrics: GatewayMetrics, sandbox: SandboxGatewayHost): Gateway => {
        const gateway = configuredGateway(config, sandbox);
        if (gateway === null) return new UnconfiguredGateway();
        return new ResilientGateway(gateway, resilience(config), metrics);
      },
    },
    { provide: NotificationReader, inject: [CONFIG], useFactory: notificationReader },
  ],
  exports: [Gateway, NotificationReader, SandboxGatewayHost],
})
export class GatewaysModule {}

function configuredGateway(
  { gateway, stripe, sandboxGateway }: Config,
  { engine }: SandboxGatewayHost,
): Gateway | null {
  if (gateway === 'stripe' && stripe !== null) return new StripeGateway(stripe);
  if (engine !== null) return new SandboxGateway(engine);
  if (gateway === 'sandbox' && sandboxGateway.url !== null) return new SandboxHttpGateway(sandboxGateway.url);
  return null;
}

/** We accept notifications only from the gateway that moves the money, and only with a secret. Null for none. */
function notificationReader({ gateway, stripe, sandboxGateway }: Config): NotificationReader | null {
  if (gateway === 'stripe' && stripe !== null && stripe.webhookSecret !== null) {
    return new StripeNotificationReader(stripe.webhookSecret);
  }
  if (gateway === 'sandbox' && sandboxGateway.webhookSecret !== null) {
    return new SandboxNotificationReader(sandboxGateway.webhookSecret);
  }
  return null;
}

function resilience(config: Config) {
  return {
    timeoutMs: config.gatewayTimeoutMs,
    tryTimeoutMs: config.gatewayTryTimeoutMs,
    maxTries: config.gatewayMaxTries,
    maxConcurrent: config.gatewayMaxConcurrent,
  };
}
