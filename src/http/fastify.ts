import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';
import { clientErrorHandler } from './client-errors.js';
import { allowOrigins } from './cors.js';
import { renderProblem } from './problem-table.js';
import { publicUrl } from './public-url.js';
import type {} from './raw-body.js';
import { refusalOf } from './refusal-of.js';
import { routeTemplate } from './route-template.js';
import { type SecurityHeaders, securityHeaders } from './security-headers.js';

/** Twice what a create body needs that uses up every limit in ASCII. */
export const MAX_BODY_BYTES = 64 * 1_024;
const MAX_HEADER_BYTES = 16 * 1_024;
/** An idempotency key in a path: 255 characters, each of them percent-encoded. */
const MAX_PARAM_LENGTH = 3 * 255;
/** To send the headers, and to send all of a request. A slow client holds a socket, so it is not waited for longer. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than the 60 s of the usual load balancers, which then never use a connection that we are closing. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** How often Node looks for connections that are past their time. */
const TIMEOUT_CHECK_INTERVAL_MS = 5_000;

/** A request id from outside ends up in our log and in our answers, so only a plain one is taken over. */
const CLIENT_REQUEST_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** The HTTP server: limits, request ids, one log line a request, JSON bodies only. Create the app with `bodyParser: false`. */
export function createFastifyAdapter(config: Config, logger: Logger): FastifyAdapter {
  const headersFor = securityHeaders(config);
  const adapter = new FastifyAdapter({
    loggerInstance: logger,
    // One line when a request is finished says all that Fastify's two lines say; see logFinishedRequest.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestId,
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // Whose word about the client's address counts. It is what failed authentications are counted by.
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
    },
    // A request that still arrives while we drain is served like any other: its money is as real.
    return503OnClosing: false,
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) =>
      sendFrameworkError(config, headersFor, error, request, reply),
    clientErrorHandler: clientErrorHandler(config),
    // Nest's middleware is not used, and matching it costs every request.
    skipMiddie: true,
  });
  const instance = adapter.getInstance<FastifyInstance>();
  // Declared up front, so that all request objects keep one shape.
  instance.decorateRequest('merchant', null);
  instance.decorateRequest('keyed', null);
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

/**
 * Bodies are JSON in UTF-8 and nothing else, and an empty one is no body. The decoder would turn bytes that are not
 * UTF-8 into replacement characters, and two different requests into one.
 */
function acceptOnlyJson(instance: FastifyInstance): void {
  instance.removeAllContentTypeParsers();
  // Refuses `__proto__` and `constructor.prototype` keys at any depth.
  const parseJson = instance.getDefaultJsonParser('error', 'error');
  instance.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (request.routeOptions.config.rawBody === true) done(null, body);
    else if (body.length === 0) done(null, undefined);
    else if (!isUtf8(body)) {
      done(new RefusedError({ code: 'malformed_body', reason: 'The body is not valid UTF-8.' }));
    } else void parseJson(request, body.toString('utf8'), done);
  });
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

/** Faults that the router finds before there is a route, so that neither hooks nor Nest's filters see them. */
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
