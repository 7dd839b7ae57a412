import { isUtf8 } from 'node:buffer';
import type { Deserializer, Serializer } from '@nestjs/microservices';
import { headers, type Msg, type MsgHdrs } from '@nats-io/transport-node';
import type { Refusal } from '../domain/errors.js';
import { MAX_BODY_BYTES } from '../http/fastify.js';

/** A message after decoding: its fields, or why it was refused. */
export type CommandMessage = { fields: Record<string, unknown> } | { refusal: Refusal };

/** The answer to a command: the same that the request gets over HTTP. */
export interface CommandReply {
  status: number;
  headers: Readonly<Record<string, string>>;
  body: string;
}

/**
 * The id of a command that did not come from a Nest client. A Nest client wraps its message and expects the answer
 * wrapped under the same id. Any other client sends the bare message and gets the bare body back. Nest treats a message
 * without an id as one that wants no answer, so we give it this one.
 */
const PLAIN = 'plain';

interface ReadPacket {
  pattern: string;
  data: CommandMessage;
  id: string;
}

/** Never throws: Nest would only log the error, and the sender would get no answer. */
export class CommandDeserializer implements Deserializer<Msg, ReadPacket> {
  deserialize({ data: bytes, subject: pattern }: Msg): ReadPacket {
    const message = readJson(bytes);
    if ('refusal' in message) return { pattern, data: message, id: PLAIN };
    const { id, data } = message.fields;
    if (typeof id !== 'string' || !('pattern' in message.fields))
      return { pattern, data: message, id: PLAIN };
    return { pattern, data: asFields(data), id };
  }
}

interface WrittenPacket {
  id: string;
  response?: CommandReply;
}

/** Sends the status and the HTTP headers as headers of the message. */
export class CommandSerializer implements Serializer<WrittenPacket, { data: string; headers?: MsgHdrs }> {
  serialize({ id, response }: WrittenPacket): { data: string; headers?: MsgHdrs } {
    if (response === undefined) return { data: JSON.stringify({ id, isDisposed: true }) };
    const fields = headers();
    fields.set('Status', String(response.status));
    for (const [name, value] of Object.entries(response.headers)) fields.set(name, value);
    const { body } = response;
    return { data: id === PLAIN ? body : wrapped(id, body), headers: fields };
  }
}

/** The form that Nest's clients expect. The body is already JSON. */
function wrapped(id: string, body: string): string {
  return `{"id":${JSON.stringify(id)},"isDisposed":true,"response":${body}}`;
}

function readJson(bytes: Uint8Array): CommandMessage {
  if (bytes.length > MAX_BODY_BYTES) return { refusal: { code: 'payload_too_large' } };
  if (!isUtf8(bytes)) return malformed('The message is not valid UTF-8.');
  try {
    return asFields(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    return malformed('The message is not valid JSON.');
  }
}

function asFields(value: unknown): CommandMessage {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return { fields: value as Record<string, unknown> };
  }
  return malformed('The message must be a JSON object.');
}

function malformed(reason: string): CommandMessage {
  return { refusal: { code: 'malformed_body', reason } };
}
