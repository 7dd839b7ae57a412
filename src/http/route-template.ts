import type { FastifyRequest } from 'fastify';

/** One label for all addresses that match no route, so that clients cannot make up labels. */
const UNMATCHED_ROUTE = 'unmatched';

/** The route as declared, such as `/v1/payments/:transactionId`. Logs and metrics name this, never the address. */
export function routeTemplate(request: FastifyRequest): string {
  return request.routeOptions.url ?? UNMATCHED_ROUTE;
}
