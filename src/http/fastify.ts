import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import { clientErrorHandler } from './client-errors.js';
import { allowOrigins } from './cors.js';
import { acceptOnlyJson } from './json-body.js';
import { renderProblem } from './problem-table.js';
import { publicUrl } from './public-url.js';
import { refusalOf } from './refusal-of.js';
import { routeTemplate } from './route-template.js';
import { type SecurityHeaders, securityHeaders } from './security-headers.js';

/** Twice the size of a create body that uses every field to its limit, in ASCII. */
export const MAX_BODY_BYTES = 64 * 1_024;
const MAX_HEADER_BYTES = 16 * 1_024;
/** An idempotency key in a path: 255 characters, each of them percent-encoded. */
const MAX_PARAM_LENGTH = 3 * 255;
/** How long a client may take to send its headers, and its whole request. A slow client holds a socket. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Load balancers usually keep connections for 60 s. We keep them longer, so they never use one that we are closing. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** How often Node checks connections against these timeouts. */
const TIMEOUT_CHECK_INTERVAL_MS = 5_000;

/** A client's request id ends up in our log and in our answers, so we accept only a plain one. */
const CLIENT_REQUEST_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** The HTTP server: limits, request ids, a log line per request, JSON only. Create the app with `bodyParser: false`. */
export function createFastifyAdapter(config: Config, logger: Logger): FastifyAdapter {
  const headersFor = securityHeaders(config);
  const adapter = new FastifyAdapter({
    loggerInstance: logger,
    // logFinishedRequest writes one line that says all that Fastify's two lines say.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestId,
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // Failed authentications are counted by client address, so only trusted proxies may say what it is.
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
    },
    // A request that arrives while we drain is about real money too, so we serve it.
    return503OnClosing: false,
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) =>
      sendFrameworkError(config, headersFor, error, request, reply),
    clientErrorHandler: clientErrorHandler(config),
    // We use no Nest middleware, and matching it would cost time on every request.
    skipMiddie: true,
  });
  const instance = adapter.getInstance<FastifyInstance>();
  // Declared up front, so that all request objects have the same shape.
  instance.decorateRequest('merchant', null);
  instance.decorateRequest('neededScopes', null);
  instance.decorateRequest('keyed', null);
  instance.decorateRequest('bytes', null);
  acceptOnlyJson(instance);
  allowOrigins(adapter, config);
  instance.addHook('onRequest', (request, reply, done) => {
    setCommonHeaders(headersFor, request, reply);
    done();
  });
  instance.addHook('onResponse', logFinishedRequest);
  return adapter;
}

function requestId(request: IncomingMessage): string {
  const header = request.headers['x-request-id'];
  return typeof header === 'string' && CLIENT_REQUEST_ID.test(header) ? header : randomUUID();
}

function setCommonHeaders(headersFor: SecurityHeaders, request: FastifyRequest, reply: FastifyReply): void {
  void reply.header('x-request-id', request.id).headers(headersFor(request.raw.url));
}

function logFinishedRequest(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  request.log.info(
    {
      method: request.method,
      route: routeTemplate(request),
      status: reply.statusCode,
      duration_ms: Math.round(reply.elapsedTime * 1_000) / 1_000,
      merchant_id: request.merchant?.merchantId,
    },
    'request',
  );
  done();
}

/** Answers errors that the router finds before it has a route. Neither hooks nor Nest's filters see those. */
function sendFrameworkError(
  config: Config,
  headersFor: SecurityHeaders,
  error: Error,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const base = publicUrl(config, request.server.server.address());
  const problem = renderProblem(refusalOf(error), { requestId: request.id, publicUrl: base });
  setCommonHeaders(headersFor, request, reply);
  void reply.code(problem.status).headers(problem.headers).send(problem.body);
  logFinishedRequest(request, reply, () => undefined);
}
