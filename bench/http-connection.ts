import { connect, type Socket } from 'node:net';
import { API_KEY, CHARGE_BODY, CHARGE_PATH } from './charge-request.js';
import { HOST } from './processes.js';

const HEAD_END = '\r\n\r\n';
const CONTENT_LENGTH = /\r\ncontent-length: (\d+)/i;

/** Status line, headers and body, as received. */
export type RawAnswer = string;

/**
 * One keep-alive connection with one request at a time, on a bare socket. The generator shares its two cores with what
 * it measures, and an HTTP client would take more of them than the service's own HTTP does.
 */
export class HttpConnection {
  private readonly socket: Socket;
  private received = '';
  private answered: { resolve: (answer: RawAnswer) => void; reject: (error: Error) => void } | null = null;
  private readonly head: string;
  private readonly tail: string;

  constructor(port: number) {
    this.head =
      `POST ${CHARGE_PATH} HTTP/1.1\r\nHost: ${HOST}:${port}\r\nAuthorization: Bearer ${API_KEY}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(CHARGE_BODY)}\r\nIdempotency-Key: `;
    this.tail = `${HEAD_END}${CHARGE_BODY}`;
    this.socket = connect({ port, host: HOST, noDelay: true });
    // One character per byte, so that string lengths match Content-Length.
    this.socket.setEncoding('latin1');
    this.socket.on('data', (chunk: string) => this.receive(chunk));
    this.socket.on('error', (error) => this.answered?.reject(error));
    this.socket.on('close', () =>
      this.answered?.reject(new Error(`connection closed after ${this.received.length} bytes`)),
    );
  }

  charge(idempotencyKey: string): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      this.answered = { resolve, reject };
      this.socket.write(this.head + idempotencyKey + this.tail, 'latin1');
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(chunk: string): void {
    this.received += chunk;
    const headEnd = this.received.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const length = CONTENT_LENGTH.exec(this.received.slice(0, headEnd))?.[1];
    if (length === undefined) return this.answered?.reject(new Error(`no Content-Length: ${this.received}`));
    if (this.received.length < headEnd + HEAD_END.length + Number(length)) return;
    const answer = this.received;
    this.received = '';
    this.answered?.resolve(answer);
  }
}
