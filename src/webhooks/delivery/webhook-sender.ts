import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { Clock } from '../../time/clock.js';
import { EndpointAddresses } from '../endpoints/endpoint-addresses.js';
import { readRetryAfter, type TryResult } from './webhook-schedule.js';

/** What is kept of an answer; the rest of it is not read. */
const MAX_KEPT_BYTES = 1_024;
const MAX_ERROR_LENGTH = 200;
/** Those whose `Retry-After` is about us. */
const ASKS_FOR_PATIENCE: ReadonlySet<number> = new Set([429, 503]);

interface Message {
  url: string;
  headers: Readonly<Record<string, string>>;
  body: string;
}

/** Servers close an idle connection after five seconds or more; closing it first avoids meeting them at it. */
const IDLE_CONNECTION_MS = 4_000;
const MAX_IDLE_CONNECTIONS_PER_HOST = 25;
const AGENT_OPTIONS = {
  keepAlive: true,
  timeout: IDLE_CONNECTION_MS,
  maxFreeSockets: MAX_IDLE_CONNECTIONS_PER_HOST,
} as const;

/** One try: a POST to an endpoint, within its time limit. */
@Injectable()
export class WebhookSender implements OnApplicationShutdown {
  private readonly http = new HttpAgent(AGENT_OPTIONS);
  private readonly https = new HttpsAgent(AGENT_OPTIONS);

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly addresses: EndpointAddresses,
    private readonly clock: Clock,
  ) {}

  onApplicationShutdown(): void {
    this.http.destroy();
    this.https.destroy();
  }

  /**
   * Never rejects: what went wrong is the result. The address is checked whenever a connection is made, and a connection
   * is kept for a few seconds. Redirects are not followed.
   */
  async send(message: Message, signal: AbortSignal): Promise<TryResult> {
    let outgoing: ClientRequest | undefined;
    const giveUp = (code: string): void => void outgoing?.destroy(Object.assign(new Error(code), { code }));
    const abort = (): void => giveUp('stopped');
    const timer = setTimeout(() => giveUp('timeout'), this.config.webhooks.tryTimeoutMs);
    signal.addEventListener('abort', abort);
    try {
      for (;;) {
        outgoing = this.open(message);
        try {
          return await this.resultOf(outgoing, message.body);
        } catch (error) {
          // The endpoint closed the kept connection at the moment at which we used it: not a failure of its own.
          if (!outgoing.reusedSocket || nameOf(error) !== 'ECONNRESET') throw error;
        }
      }
    } catch (error) {
      return { responseStatus: null, responseBody: null, error: nameOf(error), retryAfterMs: null };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  private open({ url, headers, body }: Message): ClientRequest {
    this.addresses.checkAgain(url);
    const options = {
      method: 'POST',
      headers: { ...headers, 'user-agent': 'Hapax-Webhooks/1', 'content-length': Buffer.byteLength(body) },
      lookup: this.addresses.lookup,
    };
    return new URL(url).protocol === 'https:'
      ? httpsRequest(url, { ...options, agent: this.https })
      : httpRequest(url, { ...options, agent: this.http });
  }

  private async resultOf(outgoing: ClientRequest, body: string): Promise<TryResult> {
    let response: IncomingMessage | undefined;
    try {
      response = await answerTo(outgoing, body);
      const { statusCode: responseStatus = 0, headers } = response;
      const retryAfterMs = ASKS_FOR_PATIENCE.has(responseStatus)
        ? readRetryAfter(headers['retry-after'], this.clock.now())
        : null;
      return { responseStatus, responseBody: await firstOf(response), error: null, retryAfterMs };
    } finally {
      // An answer that was read to its end has given its connection back.
      if (response?.complete !== true) outgoing.destroy();
    }
  }
}

function answerTo(outgoing: ClientRequest, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.on('response', resolve);
    // A 101 that nobody asked for. Node would close the connection without a word, and nothing would end the try.
    outgoing.on('upgrade', (response, socket) => {
      response.destroy();
      socket.destroy();
      resolve(response);
    });
    // Also after the answer, when there is nobody left to tell.
    outgoing.on('error', reject);
    outgoing.on('close', () => reject(Object.assign(new Error('no answer'), { code: 'ECONNRESET' })));
    outgoing.end(body);
  });
}

/** The first of a body. An answer that ends too early or never is an answer all the same: its status has been read. */
async function firstOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= MAX_KEPT_BYTES) break;
    }
  } catch {
    // What has been read is kept.
  }
  // PostgreSQL's text holds no NUL, and bytes that are no UTF-8 become U+FFFD.
  return Buffer.concat(chunks).subarray(0, MAX_KEPT_BYTES).toString('utf8').replaceAll('\0', '\uFFFD');
}

/** A system error's code, such as ECONNREFUSED or CERT_HAS_EXPIRED: it never holds anything of ours. */
function nameOf(error: unknown): string {
  // Node tries every address of a host and reports one AggregateError.
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const { code, message } = Object(inner) as { code?: unknown; message?: unknown };
  return String(code ?? message).slice(0, MAX_ERROR_LENGTH);
}
