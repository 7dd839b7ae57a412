import { AsyncLocalStorage } from 'node:async_hooks';
import * as http from 'node:http';
import * as https from 'node:https';
import type { Socket } from 'node:net';
import type { Stripe } from 'stripe';

/** A hundred payment intents are a few hundred kilobytes. */
const MAX_BODY_BYTES = 8 * 1_024 * 1_024;

/** The request or its answer was lost on the way. */
export class StripeTransportError extends Error {
  override readonly name = 'StripeTransportError';

  constructor(
    /** False if no byte of the request can have reached Stripe. */
    readonly sent: boolean,
    /** True if we stopped waiting, false if the connection broke. */
    readonly timedOut: boolean,
    cause: unknown,
  ) {
    super(`${timedOut ? 'gave up' : 'lost'} a request to Stripe ${sent ? 'after' : 'before'} it was sent`, {
      cause,
    });
  }
}

/**
 * Replaces the SDK's own HTTP client, for three reasons. It ends a request when our signal aborts; the SDK can only
 * limit how long a socket is idle. It knows whether a failed request was sent, which decides between "surely no effect"
 * and "maybe one". And the SDK repeats a request once after a reset connection, even with its retries switched off: it
 * recognizes those by a `code`, which the errors of this client do not have.
 */
export class StripeHttpClient implements Stripe.HttpClient {
  private readonly signals = new AsyncLocalStorage<AbortSignal>();
  private readonly httpAgent = new http.Agent({ keepAlive: true });
  private readonly httpsAgent: https.Agent;

  /** @param tls for tests: certificate authorities beside Node's own. */
  constructor(tls: { ca?: string } = {}) {
    this.httpsAgent = new https.Agent({ keepAlive: true, ...tls });
  }

  /** Runs code that calls the SDK. Its requests end when `signal` aborts. */
  within<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
    return this.signals.run(signal, run);
  }

  /** Ends idle connections, which would keep a short-lived process alive. */
  close(): void {
    this.httpAgent.destroy();
    this.httpsAgent.destroy();
  }

  getClientName(): string {
    return 'node';
  }

  makeRequest(
    host: string,
    port: string,
    path: string,
    method: string,
    headers: object,
    body: string,
    protocol: string,
  ): Promise<Stripe.HttpClientResponse> {
    const signal = this.signals.getStore();
    // A rejection, because the SDK awaits a promise and would not catch a throw.
    if (signal === undefined) return Promise.reject(new Error('a request to Stripe has no deadline'));
    const secure = protocol !== 'http';
    return new Promise((resolve, reject) => {
      let sent = false;
      const fail = (cause: unknown): void => reject(new StripeTransportError(sent, signal.aborted, cause));
      const options = {
        host,
        port,
        path,
        method,
        signal,
        headers: headers as http.OutgoingHttpHeaders,
        agent: secure ? this.httpsAgent : this.httpAgent,
      };
      const request = secure ? https.request(options) : http.request(options);
      request.once('socket', (socket: Socket) => {
        // Node writes a request as soon as the connection, with its TLS handshake, is ready.
        if (request.reusedSocket || !socket.connecting) sent = true;
        else socket.once(secure ? 'secureConnect' : 'connect', () => (sent = true));
      });
      request.once('error', fail);
      request.once('response', (response) => {
        readBody(response).then((text) => resolve(new StripeHttpResponse(response, text)), fail);
      });
      request.end(body);
    });
  }
}

/** An answer, read to its end. */
class StripeHttpResponse implements Stripe.HttpClientResponse {
  constructor(
    private readonly response: http.IncomingMessage,
    private readonly text: string,
  ) {}

  getStatusCode(): number {
    return this.response.statusCode ?? 0;
  }

  getHeaders(): Record<string, string> {
    return this.response.headers as Record<string, string>;
  }

  getRawResponse(): unknown {
    return this.response;
  }

  toStream(): never {
    throw new Error('no call of ours streams');
  }

  async toJSON(): Promise<unknown> {
    return JSON.parse(this.text) as unknown;
  }
}

async function readBody(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error(`an answer of more than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
