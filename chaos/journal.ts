/** What the clients write down while everything around them dies: the run's third set of books. */

export const OPERATIONS = ['charge', 'capture', 'cancel', 'refund', 'reversal'] as const;
export type OperationName = (typeof OPERATIONS)[number];

/** What a client asks for under one key. Two intents may share a key; at most one of them may be served. */
export interface Intent {
  key: string;
  operation: OperationName;
  path: string;
  body: Readonly<Record<string, unknown>>;
  /** The payment that a capture, cancel or refund is about. */
  transactionId?: string;
}

/** An answer, byte for byte as it arrived. */
export interface Heard {
  status: number;
  contentType: string;
  location: string | null;
  replayed: string | null;
  body: string;
  json: Record<string, unknown>;
}

/** One request: what came back, or null when nothing did. */
export interface Try {
  service: number;
  heard: Heard | null;
}

export interface Entry {
  intent: Intent;
  tries: Try[];
  /** The tries at the end of the run, when everything is quiet. */
  atEnd: Try[];
  /** Whether its client gave up before it got a final answer. */
  lost: boolean;
}

/** A payment as a client read it. */
export interface Reading {
  transactionId: string;
  heard: Heard;
}

export class Journal {
  readonly entries: Entry[] = [];
  readonly readings: Reading[] = [];

  open(intent: Intent): Entry {
    const entry: Entry = { intent, tries: [], atEnd: [], lost: false };
    this.entries.push(entry);
    return entry;
  }
}

/** Whether an answer ends an intent. Any other asks for a retry under the same key. */
export function isFinal({ status, json }: Heard): boolean {
  return status !== 202 && (status < 400 || json['retry'] !== 'same_key');
}

/** Whether an answer is stored and so never changes: every success, and every refusal by the operation itself. */
export function isStored(heard: Heard): boolean {
  const { status, json } = heard;
  if (!isFinal(heard)) return false;
  return status < 300 || status === 402 || (status === 409 && json['code'] !== 'idempotency_key_reversed');
}

export function heardOf({ tries, atEnd }: Entry): Heard[] {
  return [...tries, ...atEnd].flatMap(({ heard }) => heard ?? []);
}

/** The first stored answer that this client got, if any. */
export function acknowledged(entry: Entry): Heard | null {
  return heardOf(entry).find(isStored) ?? null;
}

export function finalAnswer(entry: Entry): Heard | null {
  return heardOf(entry).find(isFinal) ?? null;
}

export function nameOf({ intent: { key, operation } }: Entry): { key: string; operation: string } {
  return { key, operation };
}
