import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { renderProblem } from './problem-table.js';
import { PublicUrl } from './public-url.js';
import { refusalOf } from './refusal-of.js';

/** Turns whatever was thrown into a problem document. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly publicUrl: PublicUrl) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const refusal = refusalOf(error);
    if (refusal.code === 'internal_error') request.log.error({ err: error }, 'request failed');
    else if (refusal.code === 'service_unavailable') request.log.warn({ err: error }, 'service unavailable');
    // An answer that has begun cannot be replaced; Fastify ends the connection.
    if (reply.sent) return;
    const problem = renderProblem(refusal, { requestId: request.id, publicUrl: this.publicUrl.base });
    void reply.code(problem.status).headers(problem.headers).send(problem.body);
  }
}
