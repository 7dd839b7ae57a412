import type { ConnectionOptions } from '@nats-io/transport-node';
import type { NatsConfig } from '../config/config.js';

/** A server that has not answered for so long is taken for down. */
const CONNECT_TIMEOUT_MS = 2_000;

/** How one of our connections is made; `name` is what the server's monitoring shows. */
export function natsOptions({ servers, user, password, token, tls }: NatsConfig, name: string) {
  return {
    servers: [...servers],
    name,
    timeout: CONNECT_TIMEOUT_MS,
    ...(user !== null && { user }),
    ...(password !== null && { pass: password }),
    ...(token !== null && { token }),
    ...(tls && { tls: {} }),
  } satisfies ConnectionOptions;
}
