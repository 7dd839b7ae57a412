import type { AddressInfo } from 'node:net';
import { Inject, Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import { CONFIG, type Config } from '../config/config.js';

/** Addresses that mean "this machine". Not every client can use them as they are, so we say `localhost` instead. */
const LOCAL_ADDRESSES: ReadonlySet<string> = new Set(['0.0.0.0', '::', '127.0.0.1', '::1', 'localhost']);

/**
 * The base of the absolute URLs in answers: `PUBLIC_URL`, or else the address where the server listens. We ask the
 * server for it, so it is right for port 0 too. Before the server listens, we use the configured host and port.
 */
@Injectable()
export class PublicUrl {
  private known: string | null;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly host: HttpAdapterHost<FastifyAdapter>,
  ) {
    this.known = config.publicUrl;
  }

  get base(): string {
    if (this.known !== null) return this.known;
    const address = this.host.httpAdapter.getInstance().server.address();
    if (address !== null) this.known = publicUrl(this.config, address);
    return this.known ?? publicUrl(this.config, null);
  }
}

/** The same for callers outside the injector. `address` comes from `server.address()`. */
export function publicUrl(config: Config, address: AddressInfo | string | null): string {
  if (config.publicUrl !== null) return config.publicUrl;
  const listening = typeof address === 'object' && address !== null;
  const port = listening ? address.port : config.port;
  const host = listening ? address.address : config.host;
  if (LOCAL_ADDRESSES.has(host)) return `http://localhost:${port}`;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
