import type { FastifyRequest } from 'fastify';

/** Stands for every address that no route matches, so that nobody can make up labels. */
const UNMATCHED_ROUTE = 'unmatched';

/** The route as it was declared, such as `/v1/payments/:transactionId`: what logs and metrics may name. */
export function routeTemplate(request: FastifyRequest): string {
  return request.routeOptions.url ?? UNMATCHED_ROUTE;
}
