/** What the clients note down, each for itself, while everything around them dies: the run's own third set of books. */

export const OPERATIONS = ['charge', 'capture', 'cancel', 'refund', 'reversal'] as const;
export type OperationName = (typeof OPERATIONS)[number];

/** What a client wants, under one key. Two intents may share a key, which at most one of them can be right about. */
export interface Intent {
  key: string;
  operation: OperationName;
  path: string;
  body: Readonly<Record<string, unknown>>;
  /** The payment that a later operation is about. */
  transactionId?: string;
}

/** An answer as it arrived, byte for byte. */
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
  /** What was asked once more at the end, when everything was quiet. */
  atEnd: Try[];
  /** Whether its client gave up before it had a final answer. */
  lost: boolean;
}

/** A payment as somebody read it. */
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

/** Whether an answer ends an intent. Anything else says: ask again with the same key. */
export function isFinal({ status, json }: Heard): boolean {
  return status !== 202 && (status < 400 || json['retry'] !== 'same_key');
}

/** Whether an answer is kept, and so the same for ever: every success, and every refusal by the operation itself. */
export function isStored(heard: Heard): boolean {
  const { status, json } = heard;
  if (!isFinal(heard)) return false;
  return status < 300 || status === 402 || (status === 409 && json['code'] !== 'idempotency_key_reversed');
}

export function heardOf({ tries, atEnd }: Entry): Heard[] {
  return [...tries, ...atEnd].flatMap(({ heard }) => heard ?? []);
}

/** The first answer that is kept, if this client has heard one. */
export function acknowledged(entry: Entry): Heard | null {
  return heardOf(entry).find(isStored) ?? null;
}

export function finalAnswer(entry: Entry): Heard | null {
  return heardOf(entry).find(isFinal) ?? null;
}

export function nameOf({ intent: { key, operation } }: Entry): { key: string; operation: string } {
  return { key, operation };
}
