import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  fastify,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import {
  parseSandboxScript,
  parseSandboxScriptText,
  SandboxScriptError,
  type SandboxScript,
} from '../../config/sandbox-script.js';
import type { SandboxEngine, SandboxReply, SandboxVerdict } from './sandbox-engine.js';
import {
  callToWire,
  effectToWire,
  KEY_HEADER,
  SCRIPT_HEADER,
  type WireCapture,
  type WireCharge,
  type WireError,
  type WireRefund,
  type WireVoid,
} from './sandbox-wire.js';

/** Whoever reaches it may move the sandbox's money, so that nobody from outside does. */
export const SANDBOX_GATEWAY_HOST = '127.0.0.1';
const MAX_BODY_BYTES = 64 * 1_024;
/** A key in a path, with each of its characters percent-encoded. */
const MAX_PARAM_LENGTH = 3 * 255;
const MAX_PAGE_SIZE = 10_000;
const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

const id = { type: 'string', minLength: 1, maxLength: 255 } as const;
const amount = { type: 'integer', minimum: 1, maximum: 999_999_999_999 } as const;
const currency = { type: 'string', pattern: '^[A-Z]{3}$' } as const;

function body(properties: Record<string, object>): object {
  return { type: 'object', additionalProperties: false, required: Object.keys(properties), properties };
}

const chargeBody = body({
  transaction_id: id,
  amount,
  currency,
  payment_method: id,
  capture_method: { enum: ['automatic', 'manual'] },
});
const captureBody = body({ transaction_id: id, amount, currency });
const voidBody = body({ transaction_id: id });
const refundBody = body({ transaction_id: id, refund_id: id, amount, currency });

/** Refused by the server itself, before the provider was asked. */
class BadCallError extends Error {
  readonly statusCode = 400;
}

/** The sandbox provider's HTTP server: the same engine as in the service's process, reached as a provider is. */
export function createSandboxGatewayServer(engine: SandboxEngine): FastifyInstance {
  const server = fastify({
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // A call that is never answered would keep it from stopping.
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
    const { transaction_id: transactionId, payment_method: paymentMethod, ...rest } = request.body;
    const call = {
      gatewayKey: keyOf(request),
      transactionId,
      paymentMethod,
      captureMethod: rest.capture_method,
      amountMinor: BigInt(rest.amount),
      currency: rest.currency,
    };
    return answer(reply, engine.charge(call, scriptOf(request)));
  });
  server.post<{ Body: WireCapture; Params: { reference: string } }>(
    '/charges/:reference/capture',
    { schema: { body: captureBody } },
    (request, reply) => answer(reply, engine.capture(moneyOf(request), scriptOf(request))),
  );
  server.post<{ Body: WireVoid; Params: { reference: string } }>(
    '/charges/:reference/void',
    { schema: { body: voidBody } },
    (request, reply) => {
      const call = {
        gatewayKey: keyOf(request),
        transactionId: request.body.transaction_id,
        reference: request.params.reference,
      };
      return answer(reply, engine.void(call, scriptOf(request)));
    },
  );
  server.post<{ Body: WireRefund; Params: { reference: string } }>(
    '/charges/:reference/refunds',
    { schema: { body: refundBody } },
    (request, reply) => {
      const call = { ...moneyOf(request), refundId: request.body.refund_id };
      return answer(reply, engine.refund(call, scriptOf(request)));
    },
  );
}

function addLookups(server: FastifyInstance, engine: SandboxEngine): void {
  const { books } = engine;
  server.get('/health', (_request, reply) => reply.send({ status: 'ok' }));
  server.get<{ Params: { reference: string } }>('/charges/:reference', (request, reply) => {
    const call = books.find(request.params.reference);
    return call === null ? sendUnknown(reply) : reply.send(callToWire(call));
  });
  server.get<{ Querystring: { transaction_id?: string } }>('/calls', (request, reply) => {
    const { transaction_id: transactionId } = request.query;
    if (typeof transactionId !== 'string') throw new BadCallError('transaction_id is missing');
    return reply.send({ data: books.findByTransaction(transactionId).map(callToWire) });
  });
  // A look that changes nothing, so its 404 only says "not yet".
  server.get<{ Params: { key: string } }>('/calls/:key', (request, reply) => {
    const call = books.findByKey(request.params.key);
    return call === null ? sendUnknown(reply) : reply.send(callToWire(call));
  });
  server.post<{ Params: { key: string } }>('/calls/:key/resolve', async (request, reply) => {
    const { verdict, delayMs } = engine.resolve(request.params.key, scriptOf(request));
    if (delayMs > 0) await sleep(delayMs);
    switch (verdict.kind) {
      case 'found':
        return reply.send(callToWire(verdict.call));
      case 'absent':
        return reply.send({ status: 'absent' });
      case 'refuse':
        return sendVerdict(reply, { kind: 'unavailable' });
      case 'error':
      case 'silence':
      case 'reset':
        return sendVerdict(reply, { kind: verdict.kind });
    }
  });
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

/** All effects as one JSON document, written as it is read, so that any number of them fits into memory. */
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
  const { lateMs, ...told } = notifications;
  return {
    ...script,
    arrival_ms: arrivalMs,
    latency_ms: latencyMs,
    lookups: { latency_ms: lookups.latencyMs, faults: lookups.faults },
    notifications: { ...told, late_ms: lateMs },
  };
}

async function answer(
  reply: FastifyReply,
  replying: SandboxReply | Promise<SandboxReply>,
): Promise<FastifyReply> {
  const { verdict, delayMs } = await replying;
  if (delayMs > 0) await sleep(delayMs);
  return sendVerdict(reply, verdict);
}

function sendVerdict(reply: FastifyReply, verdict: SandboxVerdict): FastifyReply {
  switch (verdict.kind) {
    case 'approved':
      return reply.send({ reference: verdict.reference, status: 'approved' });
    case 'declined': {
      const { reference, failure } = verdict;
      return reply.code(402).send({ reference, status: 'declined', failure });
    }
    case 'unavailable':
      return sendProblem(reply, 503, 'unavailable', 'Try again later.');
    case 'closed':
      return sendProblem(
        reply,
        410,
        'key_closed',
        'This key was said to be absent, and is refused for good.',
      );
    case 'reused':
      return sendProblem(reply, 422, 'key_reused', 'This key has answered another request.');
    case 'error':
      return sendProblem(reply, 500, 'internal_error', 'Something went wrong.', 'unknown');
    case 'silence':
      // The connection stays open until the client has had enough.
      return reply.hijack();
    case 'reset':
      reply.raw.socket?.resetAndDestroy();
      return reply.hijack();
  }
}

function sendProblem(
  reply: FastifyReply,
  status: number,
  code: string,
  message: string,
  effect: WireError['error']['effect'] = 'none',
): FastifyReply {
  const problem: WireError = { error: { code, message, effect } };
  return reply.code(status).send(problem);
}

function sendUnknown(reply: FastifyReply): FastifyReply {
  return sendProblem(reply, 404, 'not_found', 'The books know nothing of it so far.');
}

function sendError(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof SandboxScriptError) return sendProblem(reply, 400, 'invalid_script', error.message);
  const status = error.statusCode ?? 500;
  if (status < 500) return sendProblem(reply, status, 'invalid_request', error.message);
  return sendProblem(reply, 500, 'internal_error', 'Something went wrong.', 'unknown');
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

function moneyOf(request: FastifyRequest<{ Body: WireCapture; Params: { reference: string } }>): {
  gatewayKey: string;
  transactionId: string;
  reference: string;
  amountMinor: bigint;
  currency: string;
} {
  return {
    gatewayKey: keyOf(request),
    transactionId: request.body.transaction_id,
    reference: request.params.reference,
    amountMinor: BigInt(request.body.amount),
    currency: request.body.currency,
  };
}

function wholeNumber(query: Record<string, unknown>, name: string, min: number, max: number): number | null {
  const value = query[name];
  if (value === undefined) return null;
  if (typeof value === 'string' && /^\d{1,16}$/.test(value) && Number(value) >= min && Number(value) <= max) {
    return Number(value);
  }
  throw new BadCallError(`${name} must be a whole number from ${min} to ${max}`);
}
