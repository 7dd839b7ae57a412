import type { Scope } from './scopes.js';

/** The merchant and API key that a request comes from. */
export interface RequestMerchant {
  readonly merchantId: string;
  readonly apiKeyId: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the API key guard; null on routes that need no key. */
    merchant: RequestMerchant | null;
    /** The scopes that the route needs, set by the API key guard; null on routes that need no key. */
    neededScopes: readonly Scope[] | null;
  }
}
