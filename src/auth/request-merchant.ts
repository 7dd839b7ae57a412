/** The merchant and API key that a request comes from. */
export interface RequestMerchant {
  readonly merchantId: string;
  readonly apiKeyId: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the API key guard; null on routes that need no key. */
    merchant: RequestMerchant | null;
  }
}
