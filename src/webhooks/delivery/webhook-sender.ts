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

/** How much of a body we keep. We do not read the rest. */
const MAX_KEPT_BYTES = 1_024;
const MAX_ERROR_LENGTH = 200;
/** Statuses whose `Retry-After` asks the client to slow down. */
const ASKS_FOR_PATIENCE: ReadonlySet<number> = new Set([429, 503]);

interface Message {
  url: string;
  headers: Readonly<Record<string, string>>;
  body: string;
}

/** Servers close idle connections after five seconds or more. We close first, so as not to use one as it closes. */
const IDLE_CONNECTION_MS = 4_000;
const MAX_IDLE_CONNECTIONS_PER_HOST = 25;
const AGENT_OPTIONS = {
  keepAlive: true,
  timeout: IDLE_CONNECTION_MS,
  maxFreeSockets: MAX_IDLE_CONNECTIONS_PER_HOST,
} as const;

/** Makes one try: a POST to an endpoint, within the time limit. */
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
   * Never rejects: a failure is a result. It checks the address for every new connection, and keeps a connection for a
   * few seconds. It does not follow redirects.
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
          // The endpoint closed an idle connection just as we used it. That is not a failed try.
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
      // An answer read to its end has already returned its connection to the agent.
      if (response?.complete !== true) outgoing.destroy();
    }
  }
}

function answerTo(outgoing: ClientRequest, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.on('response', resolve);
    // A 101 that we did not ask for. Without a listener Node closes the connection silently, and the try never ends.
    outgoing.on('upgrade', (response, socket) => {
      response.destroy();
      socket.destroy();
      resolve(response);
    });
    // Stays attached after the answer: a late error without a listener would end the process.
    outgoing.on('error', reject);
    outgoing.on('close', () => reject(Object.assign(new Error('no answer'), { code: 'ECONNRESET' })));
    outgoing.end(body);
  });
}

/** The beginning of a body. A body that breaks off or never ends does not matter, because the status has arrived. */
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
    // Keep what has been read.
  }
  // PostgreSQL's text cannot hold NUL. Bytes that are not UTF-8 become U+FFFD.
  return Buffer.concat(chunks).subarray(0, MAX_KEPT_BYTES).toString('utf8').replaceAll('\0', '\uFFFD');
}

/** A system error's code, such as ECONNREFUSED or CERT_HAS_EXPIRED, which never contains data of ours. */
function nameOf(error: unknown): string {
  // Node tries every address of a host and reports all failures in one AggregateError.
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const { code, message } = Object(inner) as { code?: unknown; message?: unknown };
  return String(code ?? message).slice(0, MAX_ERROR_LENGTH);
}
