/** Who sends a request, as its API key says. */
export interface RequestMerchant {
  readonly merchantId: string;
  readonly apiKeyId: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the API key guard; null where no key is asked for. */
    merchant: RequestMerchant | null;
  }
}
