import { randomUUID } from 'node:crypto';
import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionError, FastifyInstance } from 'fastify';
import type { Config } from '../config/config.js';
import type { Refusal } from '../domain/errors.js';
import { renderProblem } from './problem-table.js';
import { publicUrl } from './public-url.js';

/**
 * Answers what Node's parser refuses before there is a request: bad HTTP, headers over the limit, a client that is too
 * slow. We have only the socket to write to, and the connection cannot be used again.
 *
 * Every such answer says that nothing was done, so we must keep that true. We destroy the socket and read nothing more:
 * otherwise a body that arrives after its client got a 408 would be carried out. If the kernel does not take the whole
 * answer at once, the rest is lost. A client that got no answer asks again, which is always safe.
 */
export function clientErrorHandler(config: Config) {
  return function answerClientError(this: FastifyInstance, error: ConnectionError, socket: Socket): void {
    if (error.code !== 'ECONNRESET' && socket.writable && !owesAnswer(socket)) {
      const refusal = refusalOfClientError(error);
      this.log.info({ client_error: error.code }, 'connection refused');
      socket.write(rawAnswer(refusal, publicUrl(config, this.server.address())));
    }
    socket.destroy();
  };
}

function refusalOfClientError(error: ConnectionError): Refusal {
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { code: 'request_timeout' };
    case 'HPE_HEADER_OVERFLOW':
      return { code: 'headers_too_large' };
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return { code: 'payload_too_large' };
    default:
      return { code: 'malformed_request', reason: 'The request is not valid HTTP.' };
  }
}

/**
 * Whether the connection still owes an answer to an earlier request. If that answer has begun, ours would corrupt it.
 * If that request arrived whole and we refuse what was sent behind it, the client would take our refusal for the answer
 * to the first request, and believe that nothing was done while we do it.
 */
function owesAnswer(socket: Socket): boolean {
  const answer = answerUnderWay(socket);
  return answer !== null && (answer.headersSent || answer.req.complete);
}

/** The answer to the request that a connection is serving, from the request's headers to the answer's last byte. */
export function answerUnderWay(socket: Socket): ServerResponse | null {
  // oxlint-disable-next-line no-underscore-dangle -- Node has no public name for it
  return (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage ?? null;
}

function rawAnswer(refusal: Refusal, base: string): string {
  const requestId = randomUUID();
  const problem = renderProblem(refusal, { requestId, publicUrl: base });
  const headers = {
    ...problem.headers,
    'content-length': String(Buffer.byteLength(problem.body)),
    'x-request-id': requestId,
    'x-content-type-options': 'nosniff',
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${lines.join('')}\r\n${problem.body}`;
}
