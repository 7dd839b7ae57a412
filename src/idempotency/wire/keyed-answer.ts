import type { FastifyReply } from 'fastify';
import type { Answer } from '../operation.js';

/** From here on every answer is a keyed one, refusals included. */
export function beginKeyedAnswer(reply: FastifyReply, waitSeconds: number | null): void {
  reply.header('idempotent-replayed', 'false');
  if (waitSeconds !== null) reply.header('preference-applied', `wait=${waitSeconds}`);
}

/**
 * Status, bytes, Content-Type and Location are replayed. Every other header belongs to this answer alone.
 * @returns the body
 */
export function writeAnswer(reply: FastifyReply, answer: Answer): string {
  reply.status(answer.status).header('content-type', answer.contentType);
  if (answer.location !== null) reply.header('location', answer.location);
  if (answer.replayed) reply.header('idempotent-replayed', 'true');
  return answer.body;
}
