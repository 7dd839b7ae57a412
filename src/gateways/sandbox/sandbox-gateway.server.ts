import { Readable } from 'node:stream';
import { fastify, type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify';
import {
  parseSandboxScript,
  parseSandboxScriptText,
  type SandboxScript,
} from '../../config/sandbox-script.js';
import type { SandboxEngine } from './sandbox-engine.js';
import {
  BadCallError,
  sendError,
  sendLookup,
  sendProblem,
  sendReply,
  sendUnknown,
} from './sandbox-gateway.replies.js';
import {
  callToWire,
  effectToWire,
  idsFromWire,
  KEY_HEADER,
  SCRIPT_HEADER,
  type WireCharge,
  type WireMoney,
  type WireVoid,
} from './sandbox-wire.js';

/** This machine only: anybody who reaches the server can move the sandbox's money. */
export const SANDBOX_GATEWAY_HOST = '127.0.0.1';
const MAX_BODY_BYTES = 64 * 1_024;
/** A key in a path, with every character percent-encoded. */
const MAX_PARAM_LENGTH = 3 * 255;
const MAX_PAGE_SIZE = 10_000;
const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

const id = { type: 'string', minLength: 1, maxLength: 255 } as const;
const amount = { type: 'integer', minimum: 1, maximum: 999_999_999_999 } as const;
const currency = { type: 'string', pattern: '^[A-Z]{3}$' } as const;

function body(required: Record<string, object>): object {
  const properties = { ...required, transaction_id: id, refund_id: id };
  return { type: 'object', additionalProperties: false, required: Object.keys(required), properties };
}

const chargeBody = body({
  amount,
  currency,
  payment_method: id,
  capture_method: { enum: ['automatic', 'manual'] },
});
const moneyBody = body({ amount, currency });
const voidBody = body({});

/** The sandbox provider's HTTP server: the engine of the service's process, behind a network. */
export function createSandboxGatewayServer(engine: SandboxEngine): FastifyInstance {
  const server = fastify({
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // A call without an answer would keep the server from stopping.
    forceCloseConnections: true,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  });
  server.setErrorHandler<FastifyError>(sendError);
  server.setNotFoundHandler((_request, reply) =>
    sendProblem(reply, 404, 'not_found', 'There is nothing here.'),
  );
  addCalls(server, engine);
  addLookups(server, engine);
  addScript(server, engine);
  return server;
}

function addCalls(server: FastifyInstance, engine: SandboxEngine): void {
  server.post<{ Body: WireCharge }>('/charges', { schema: { body: chargeBody } }, (request, reply) => {
    const { payment_method: paymentMethod, ...rest } = request.body;
    const call = {
      gatewayKey: keyOf(request),
      ids: idsFromWire(rest),
      paymentMethod,
      captureMethod: rest.capture_method,
      amountMinor: BigInt(rest.amount),
      currency: rest.currency,
    };
    return sendReply(reply, engine.charge(call, scriptOf(request)));
  });
  server.post<{ Body: WireMoney; Params: { reference: string } }>(
    '/charges/:reference/capture',
    { schema: { body: moneyBody } },
    (request, reply) => sendReply(reply, engine.capture(moneyOf(request), scriptOf(request))),
  );
  server.post<{ Body: WireVoid; Params: { reference: string } }>(
    '/charges/:reference/void',
    { schema: { body: voidBody } },
    (request, reply) => {
      const call = {
        gatewayKey: keyOf(request),
        ids: idsFromWire(request.body),
        reference: request.params.reference,
      };
      return sendReply(reply, engine.void(call, scriptOf(request)));
    },
  );
  server.post<{ Body: WireMoney; Params: { reference: string } }>(
    '/charges/:reference/refunds',
    { schema: { body: moneyBody } },
    (request, reply) => sendReply(reply, engine.refund(moneyOf(request), scriptOf(request))),
  );
}

function addLookups(server: FastifyInstance, engine: SandboxEngine): void {
  const { books } = engine;
  server.get('/health', (_request, reply) => reply.send({ status: 'ok' }));
  server.get<{ Params: { reference: string } }>('/charges/:reference', (request, reply) => {
    const call = books.find(request.params.reference);
    return call === null ? sendUnknown(reply) : reply.send(callToWire(call));
  });
  server.get<{ Querystring: Record<string, unknown> }>('/calls', (request, reply) => {
    const { query } = request;
    const payment = {
      chargeKey: oneOf(query, 'charge_idempotency_key'),
      chargeReferences: [query['charge_reference'] ?? []].flat().map(String),
      transactionId: oneOf(query, 'transaction_id'),
    };
    return reply.send({ data: books.findByPayment(payment).map(callToWire) });
  });
  // This lookup closes no key, so its 404 only says "not yet".
  server.get<{ Params: { key: string } }>('/calls/:key', (request, reply) =>
    sendLookup(reply, engine.lookUp(request.params.key, scriptOf(request)), () => sendUnknown(reply)),
  );
  server.post<{ Params: { key: string } }>('/calls/:key/resolve', (request, reply) =>
    sendLookup(reply, engine.resolve(request.params.key, scriptOf(request)), () =>
      reply.send({ status: 'absent' }),
    ),
  );
  server.get<{ Querystring: Record<string, unknown> }>('/books', (request, reply) => {
    const after = wholeNumber(request.query, 'after', 0, Number.MAX_SAFE_INTEGER) ?? 0;
    const limit = wholeNumber(request.query, 'limit', 1, MAX_PAGE_SIZE);
    if (limit === null) {
      return reply.type('application/json; charset=utf-8').send(Readable.from(allOf(engine, after)));
    }
    const page = books.page(after, limit + 1);
    const shown = page.slice(0, limit);
    return reply.send({
      data: shown.map(effectToWire),
      next_after: page.length > limit ? (shown.at(-1)?.sequence ?? null) : null,
    });
  });
}

/** All effects as one JSON document, streamed as it is read, so that any number of them fits into memory. */
function* allOf({ books }: SandboxEngine, after: number): Generator<string> {
  let separator = '';
  yield '{"data":[';
  for (const page of books.pages(books.end(), after)) {
    yield `${separator}\n${page.map((effect) => JSON.stringify(effectToWire(effect))).join(',\n')}`;
    separator = ',';
  }
  yield '\n],"next_after":null}\n';
}

function addScript(server: FastifyInstance, engine: SandboxEngine): void {
  const show = (): object => {
    const run = engine.playing();
    return { script: run === null ? null : scriptToWire(run.script), seen: run?.seen() ?? null };
  };
  server.get('/script', (_request, reply) => reply.send(show()));
  server.post('/script', (request, reply) => {
    engine.play(parseSandboxScript(request.body ?? undefined));
    return reply.send(show());
  });
  server.delete('/script', (_request, reply) => {
    engine.play(null);
    return reply.send(show());
  });
}

function scriptToWire({ arrivalMs, latencyMs, lookups, notifications, ...script }: SandboxScript): object {
  const { lateMs, ...chances } = notifications;
  return {
    ...script,
    arrival_ms: arrivalMs,
    latency_ms: latencyMs,
    lookups: { latency_ms: lookups.latencyMs, faults: lookups.faults },
    notifications: { ...chances, late_ms: lateMs },
  };
}

function keyOf(request: FastifyRequest): string {
  const key = request.headers[KEY_HEADER];
  if (typeof key === 'string' && VISIBLE_ASCII.test(key)) return key;
  throw new BadCallError('Idempotency-Key must be 1 to 255 visible ASCII characters');
}

function scriptOf(request: FastifyRequest): SandboxScript | undefined {
  const text = request.headers[SCRIPT_HEADER];
  return typeof text === 'string' ? parseSandboxScriptText(text) : undefined;
}

function moneyOf(request: FastifyRequest<{ Body: WireMoney; Params: { reference: string } }>) {
  return {
    gatewayKey: keyOf(request),
    ids: idsFromWire(request.body),
    reference: request.params.reference,
    amountMinor: BigInt(request.body.amount),
    currency: request.body.currency,
  };
}

function oneOf(query: Record<string, unknown>, name: string): string | null {
  const value = query[name] ?? null;
  if (value === null || typeof value === 'string') return value;
  throw new BadCallError(`${name} may be given once`);
}

function wholeNumber(query: Record<string, unknown>, name: string, min: number, max: number): number | null {
  const value = query[name];
  if (value === undefined) return null;
  if (typeof value === 'string' && /^\d{1,16}$/.test(value) && Number(value) >= min && Number(value) <= max) {
    return Number(value);
  }
  throw new BadCallError(`${name} must be a whole number from ${min} to ${max}`);
}
