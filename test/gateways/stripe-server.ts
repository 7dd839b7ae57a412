import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { StripeApi } from './stripe-api.js';
import { errorBody, Missing, type ApiAnswer, type Form } from './stripe-wire.js';

export const SECRET_KEY = 'sk_test_localServer1234';
/** An API key that exists but has no permissions. */
export const RESTRICTED_KEY = 'rk_test_localServer1234';

/** What goes wrong with one request: `before` Stripe has acted, or `after`. */
export type Fault =
  | { kind: 'reset_before' | 'reset_after' | 'silent_before' | 'silent_after' | 'cut_after' }
  | { kind: 'error_before' | 'error_after' | 'rate_limit' | 'lock_timeout' | 'not_json' }
  | { kind: 'answer'; status: number; error: Record<string, unknown> }
  | { kind: 'delay'; ms: number };

export interface SeenRequest {
  method: string;
  path: string;
  form: Form;
  headers: IncomingMessage['headers'];
}

interface KeptAnswer {
  request: string;
  answer: ApiAnswer | null;
  requestId: string;
}

/**
 * Speaks Stripe's wire format: form bodies, bearer keys, its error objects, and its idempotency. Faults are scripted
 * for the next requests to a path. Written from Stripe's documentation, for the parts that the service uses.
 */
export class StripeServer {
  readonly api = new StripeApi();
  readonly requests: SeenRequest[] = [];
  private readonly kept = new Map<string, KeptAnswer>();
  private readonly faults: { path: RegExp; fault: Fault }[] = [];
  private readonly held = new Set<ServerResponse>();
  private requestCount = 0;

  private constructor(
    private readonly server: Server,
    private readonly scheme: string,
  ) {
    server.on('request', (request, response) => {
      this.serve(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(tls?: { key: string; cert: string }): Promise<StripeServer> {
    const server = tls === undefined ? createServer() : createTlsServer(tls);
    const stripe = new StripeServer(server, tls === undefined ? 'http' : 'https');
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return stripe;
  }

  get url(): string {
    return `${this.scheme}://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The next request with a matching method and path meets this fault. Each call scripts one more. */
  next(path: RegExp, fault: Fault): void {
    this.faults.push({ path, fault });
  }

  /** What happens after a day. */
  forgetKeys(): void {
    this.kept.clear();
  }

  /** Requests of this method and path, in order. */
  seen(path: RegExp): SeenRequest[] {
    return this.requests.filter((request) => path.test(`${request.method} ${request.path}`));
  }

  async close(): Promise<void> {
    for (const response of this.held) response.destroy();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(request.url ?? '', 'http://localhost');
    const method = request.method ?? '';
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const form = decodeForm(method === 'GET' ? search.slice(1) : body);
    this.requests.push({ method, path: pathname, form, headers: request.headers });
    const index = this.faults.findIndex(({ path }) => path.test(`${method} ${pathname}`));
    const fault = index < 0 ? undefined : this.faults.splice(index, 1)[0]?.fault;
    const requestId = `req_${(this.requestCount += 1)}`;

    const inFront = inFrontOfEndpoints(request, fault);
    if (inFront !== null) return this.send(response, inFront, requestId);
    if (fault?.kind === 'reset_before') return void request.socket.resetAndDestroy();
    if (fault?.kind === 'silent_before') return void this.held.add(response);
    const key = request.headers['idempotency-key'] as string | undefined;
    await this.answerOnce(
      { method, path: pathname, form, key: method === 'POST' ? key : undefined, requestId },
      fault,
      response,
    );
  }

  private async answerOnce(
    {
      method,
      path,
      form,
      key,
      requestId,
    }: { method: string; path: string; form: Form; key: string | undefined; requestId: string },
    fault: Fault | undefined,
    response: ServerResponse,
  ): Promise<void> {
    const fingerprint = JSON.stringify([method, path, form]);
    const earlier = key === undefined ? undefined : this.kept.get(key);
    if (earlier !== undefined) return this.replay(earlier, fingerprint, requestId, response);
    const record: KeptAnswer = { request: fingerprint, answer: null, requestId };
    if (key !== undefined) this.kept.set(key, record);
    // The key is in use meanwhile.
    if (fault?.kind === 'delay') await sleep(fault.ms);
    let answer = this.act(method, path, form, fault);
    if (fault?.kind === 'error_after') answer = serverError();
    record.answer = answer;
    if (key !== undefined && !answer.kept) this.kept.delete(key);
    if (fault?.kind === 'reset_after') return void response.socket?.resetAndDestroy();
    if (fault?.kind === 'silent_after') return void this.held.add(response);
    if (fault?.kind === 'cut_after') return this.cut(response, answer);
    this.send(response, answer, requestId, key === undefined ? {} : { 'idempotency-key': key });
  }

  private act(method: string, path: string, form: Form, fault: Fault | undefined): ApiAnswer {
    if (fault?.kind === 'error_before') return serverError();
    if (fault?.kind === 'answer') return { status: fault.status, body: errorBody(fault.error), kept: true };
    try {
      return this.api.handle(method, path, form);
    } catch (error) {
      if (error instanceof Missing) return error.answer;
      throw error;
    }
  }

  private replay(
    earlier: KeptAnswer,
    fingerprint: string,
    requestId: string,
    response: ServerResponse,
  ): void {
    if (earlier.answer === null) {
      const message = 'There is currently another in-progress request using this Idempotent Key.';
      const error = { type: 'idempotency_error', code: 'idempotency_key_in_use', message };
      return this.send(response, { status: 409, body: errorBody(error), kept: false }, requestId);
    }
    if (earlier.request !== fingerprint) {
      const message =
        'Keys for idempotent requests can only be used with the same parameters they were first used with.';
      return this.send(
        response,
        { status: 400, body: errorBody({ type: 'idempotency_error', message }), kept: false },
        requestId,
      );
    }
    this.send(response, earlier.answer, requestId, {
      'idempotent-replayed': 'true',
      'original-request': earlier.requestId,
    });
  }

  private send(
    response: ServerResponse,
    { status, body }: ApiAnswer,
    requestId: string,
    headers: Record<string, string> = {},
  ): void {
    const text = 'raw' in body ? String(body.raw) : JSON.stringify(body, null, 2);
    response.writeHead(status, { 'content-type': 'application/json', 'request-id': requestId, ...headers });
    response.end(text);
  }

  private cut(response: ServerResponse, { body }: ApiAnswer): void {
    const text = JSON.stringify(body);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length });
    response.write(text.slice(0, text.length / 2), () => response.destroy());
  }
}

/** Stripe's authentication and rate limiters stand in front of its idempotency layer. */
function inFrontOfEndpoints({ headers }: IncomingMessage, fault: Fault | undefined): ApiAnswer | null {
  const authorization = headers.authorization;
  if (authorization === `Bearer ${RESTRICTED_KEY}`) {
    return {
      status: 403,
      body: errorBody({ message: 'The provided key does not have access.' }),
      kept: false,
    };
  }
  if (authorization !== `Bearer ${SECRET_KEY}`) {
    return {
      status: 401,
      body: errorBody({ message: 'Invalid API Key provided: sk_test_****' }),
      kept: false,
    };
  }
  if (fault?.kind === 'rate_limit') {
    return {
      status: 429,
      body: errorBody({ code: 'rate_limit', message: 'Too many requests.' }),
      kept: false,
    };
  }
  if (fault?.kind === 'lock_timeout') {
    return { status: 429, body: errorBody({ code: 'lock_timeout', message: 'Locked.' }), kept: false };
  }
  if (fault?.kind === 'not_json') return { status: 200, body: { raw: '<html>gateway</html>' }, kept: false };
  return null;
}

function serverError(): ApiAnswer {
  return {
    status: 500,
    body: errorBody({ type: 'api_error', message: 'An unknown error occurred' }),
    kept: true,
  };
}

/** `a=1&b[c]=2&d[0]=3` */
function decodeForm(text: string): Form {
  const form: Form = {};
  for (const [path, value] of new URLSearchParams(text)) {
    const names = path.replaceAll(']', '').split('[');
    const last = names.pop() ?? '';
    let target = form;
    for (const name of names) target = (target[name] ??= {}) as Form;
    target[last] = value;
  }
  return form;
}
