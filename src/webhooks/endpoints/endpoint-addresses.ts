import { lookup, Resolver } from 'node:dns/promises';
import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { Inject, Injectable } from '@nestjs/common';
import ipaddr from 'ipaddr.js';
import { CONFIG, type Config } from '../../config/config.js';
import { RefusedError } from '../../domain/errors.js';

export const MAX_URL_LENGTH = 2_048;
const DNS_TIMEOUT_MS = 2_000;
const DNS_TRIES = 2;
/** The only IPv6 range in public use so far. Everything else is reserved, so we refuse it. */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');

/** The URL is not allowed now, or its name leads to an address that is not. */
class AddressNotAllowedError extends Error {
  override readonly name = 'AddressNotAllowedError';
  readonly code = 'address_not_allowed';
}

/**
 * Resolves host names. Outside the sandbox it uses DNS alone. The system's resolver also reads the hosts file, and it
 * shares four threads with the whole process: names that never resolve would hold up the calls to the payment gateway.
 */
@Injectable()
export class HostResolver {
  private readonly dns = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES });

  constructor(@Inject(CONFIG) private readonly config: Config) {}

  async resolve(host: string): Promise<LookupAddress[]> {
    if (this.config.sandbox) return lookup(host, { all: true });
    const [v4, v6] = await Promise.allSettled([this.dns.resolve4(host), this.dns.resolve6(host)]);
    const found = [
      ...(v4.status === 'fulfilled' ? v4.value.map((address) => ({ address, family: 4 })) : []),
      ...(v6.status === 'fulfilled' ? v6.value.map((address) => ({ address, family: 6 })) : []),
    ];
    if (found.length === 0 && v4.status === 'rejected') throw v4.reason;
    return found;
  }
}

/**
 * Where an endpoint may be: on the public internet, by https. In the sandbox it may be anywhere, because developers run
 * the receiver on their own machine.
 */
@Injectable()
export class EndpointAddresses {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly hosts: HostResolver,
  ) {}

  /** @throws RefusedError `validation_failed` for a URL that no endpoint may have. */
  check(url: string): void {
    const problem = this.problemOf(url);
    if (problem === null) return;
    throw new RefusedError({ code: 'validation_failed', errors: [{ field: 'url', message: problem }] });
  }

  /**
   * For `net.connect()`. It dials the very addresses that were checked, so changing the name in between has no effect.
   * Node does not call it for an address written in the URL: {@link checkAgain} covers that.
   */
  readonly lookup: LookupFunction = (host, { all }, callback) => {
    callbackify(() => this.addressesOf(host))((error: NodeJS.ErrnoException | null, addresses) => {
      if (error !== null) callback(error, []);
      else if (all === true) callback(null, addresses);
      else callback(null, addresses[0].address, addresses[0].family);
    });
  };

  /**
   * Checks again before each try: the URL may have been registered in a sandbox, or under older rules.
   *
   * @throws AddressNotAllowedError for a URL that could not be registered now.
   */
  checkAgain(url: string): void {
    const problem = this.problemOf(url);
    if (problem !== null) throw new AddressNotAllowedError(problem);
  }

  private async addressesOf(host: string): Promise<[LookupAddress, ...LookupAddress[]]> {
    const [first, ...others] = await this.hosts.resolve(host);
    if (first === undefined) throw Object.assign(new Error(`${host} has no address`), { code: 'ENOTFOUND' });
    for (const { address } of [first, ...others]) this.checkAddress(address);
    return [first, ...others];
  }

  private checkAddress(address: string): void {
    if (!this.config.sandbox && !isPublicAddress(address)) throw new AddressNotAllowedError(address);
  }

  private problemOf(text: string): string | null {
    if (text.length > MAX_URL_LENGTH || !URL.canParse(text))
      return `must be a URL of at most ${MAX_URL_LENGTH} characters`;
    const url = new URL(text);
    const schemes = this.config.sandbox ? ['https:', 'http:'] : ['https:'];
    if (!schemes.includes(url.protocol)) return 'must be an https URL';
    if (url.username !== '' || url.password !== '') return 'must not hold a user name or password';
    if (url.hash !== '') return 'must not have a fragment';
    if (!this.config.sandbox && !leadsToTheInternet(url.hostname)) return 'must lead to the public internet';
    return null;
  }
}

/** True for an address on the public internet: not private, loopback, link-local, shared, reserved or translated. */
export function isPublicAddress(text: string): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = ipaddr.parse(text);
  if (address.range() !== 'unicast') return false;
  return address instanceof ipaddr.IPv4 || address.match(GLOBAL_UNICAST);
}

/** What can be judged without DNS: a public address, or a name of at least two parts that is not a local one. */
function leadsToTheInternet(hostname: string): boolean {
  const host = withoutBrackets(hostname);
  if (isIP(host) !== 0) return isPublicAddress(host);
  const labels = host.replace(/\.$/, '').split('.');
  if (labels.includes('')) return false;
  return labels.length > 1 && !['localhost', 'local', 'internal'].includes(labels.at(-1) ?? '');
}

/** A URL writes an IPv6 address in brackets. */
function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}
