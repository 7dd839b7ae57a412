import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Heard, Intent } from './journal.js';
import { HOST } from './kept-process.js';

const API_KEY = 'sk_sandbox_hapax';

export interface SendOptions {
  /** After this the client hangs up, and does not know what became of its request. */
  limitMs: number;
  headers?: Record<string, string>;
}

/** Sends one request, once. @returns null if nothing came back */
export function send(
  baseUrl: string,
  { key, path, body }: Intent,
  { limitMs, headers = {} }: SendOptions,
): Promise<Heard | null> {
  return hear(baseUrl + path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${API_KEY}`,
      'idempotency-key': key,
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(limitMs),
  });
}

export function get(baseUrl: string, path: string, limitMs = 5_000): Promise<Heard | null> {
  return hear(baseUrl + path, {
    headers: { authorization: `Bearer ${API_KEY}` },
    signal: AbortSignal.timeout(limitMs),
  });
}

async function hear(url: string, init: RequestInit): Promise<Heard | null> {
  try {
    const answer = await fetch(url, init);
    // An answer without its whole body does not count.
    const body = Buffer.from(await answer.arrayBuffer()).toString('utf8');
    return {
      status: answer.status,
      contentType: answer.headers.get('content-type') ?? '',
      location: answer.headers.get('location'),
      replayed: answer.headers.get('idempotent-replayed'),
      body,
      json: parse(body),
    };
  } catch {
    return null;
  }
}

/** An answer that is not JSON breaks a check anyway, and its body is reported as it is. */
function parse(body: string): Record<string, unknown> {
  try {
    return JSON.parse(body) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** A client that sends its body too slowly, gets a 408, and still sends the rest. */
export function sendSlowly(
  port: number,
  { key, path, body }: Intent,
  pauseMs: number,
): Promise<Heard | null> {
  const text = JSON.stringify(body);
  const head = [
    `POST ${path} HTTP/1.1`,
    `host: ${HOST}`,
    `authorization: Bearer ${API_KEY}`,
    `idempotency-key: ${key}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ].join('\r\n');
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({ port, host: HOST, allowHalfOpen: true }, () => {
      socket.write(`${head}\r\n\r\n${text.slice(0, 10)}`);
      void sleep(pauseMs).then(() => socket.end(text.slice(10)));
    });
    socket.setTimeout(pauseMs + 10_000, () => socket.destroy());
    socket.on('data', (data) => (answer += data.toString())).on('error', () => undefined);
    socket.on('end', () => setTimeout(() => socket.destroy(), pauseMs).unref());
    socket.on('close', () => resolve(parseRaw(answer)));
  });
}

function parseRaw(answer: string): Heard | null {
  const end = answer.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [statusLine = '', ...lines] = answer.slice(0, end).split('\r\n');
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  );
  const body = answer.slice(end + 4);
  if (Number(headers.get('content-length') ?? body.length) !== Buffer.byteLength(body)) return null;
  return {
    status: Number(statusLine.split(' ')[1]),
    contentType: headers.get('content-type') ?? '',
    location: headers.get('location') ?? null,
    replayed: headers.get('idempotent-replayed') ?? null,
    body,
    json: parse(body),
  };
}
