import type { Config } from '../config/config.js';
import { StartupError } from '../config/startup-error.js';
import type { GatewayBooks } from './gateway-books.js';
import { SandboxFileBooks } from './sandbox/sandbox-file.books.js';
import { sandboxBooksPath } from './sandbox/sandbox-gateway.host.js';
import { SandboxHttpBooks } from './sandbox/sandbox-http.books.js';
import { StripeBooks } from './stripe/stripe.books.js';

/**
 * The books of the gateway that moves the money.
 * @throws StartupError when there is none
 */
export function openGatewayBooks({ gateway, stripe, sandboxGateway, dataDir }: Config): GatewayBooks {
  if (gateway === 'stripe' && stripe !== null) return new StripeBooks(stripe);
  if (gateway !== 'sandbox') {
    throw new StartupError('There is no gateway to compare with: set GATEWAY as the service has it.');
  }
  if (sandboxGateway.url !== null) return new SandboxHttpBooks(sandboxGateway.url);
  return new SandboxFileBooks(sandboxBooksPath(dataDir));
}
