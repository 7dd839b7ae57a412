import type { ConnectionOptions } from '@nats-io/transport-node';
import type { NatsConfig } from '../config/config.js';

/** A server that does not answer within this time counts as down. */
const CONNECT_TIMEOUT_MS = 2_000;

/** The options of our connections. The server's monitoring shows `name`. */
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
