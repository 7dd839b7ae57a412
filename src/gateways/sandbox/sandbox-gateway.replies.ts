import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { SandboxScriptError } from '../../config/sandbox-script.js';
import type { SandboxLookupReply, SandboxReply, SandboxVerdict } from './sandbox-engine.js';
import { callToWire, type WireError } from './sandbox-wire.js';

/** The server itself refuses the call, before the provider sees it. */
export class BadCallError extends Error {
  readonly statusCode = 400;
}

/** Answers with the provider's verdict, as late as the provider does. */
export async function sendReply(
  reply: FastifyReply,
  replying: SandboxReply | Promise<SandboxReply>,
): Promise<FastifyReply> {
  const { verdict, delayMs } = await replying;
  if (delayMs > 0) await sleep(delayMs);
  return sendVerdict(reply, verdict);
}

/** Answers a lookup, with `absent` in the words of its route. */
export async function sendLookup(
  reply: FastifyReply,
  { verdict, delayMs }: SandboxLookupReply,
  absent: () => FastifyReply,
): Promise<FastifyReply> {
  if (delayMs > 0) await sleep(delayMs);
  switch (verdict.kind) {
    case 'found':
      return reply.send(callToWire(verdict.call));
    case 'absent':
      return absent();
    case 'refuse':
      return sendVerdict(reply, { kind: 'unavailable' });
    case 'error':
    case 'silence':
    case 'reset':
      return sendVerdict(reply, { kind: verdict.kind });
  }
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
      // The connection stays open until the client gives up.
      return reply.hijack();
    case 'reset':
      reply.raw.socket?.resetAndDestroy();
      return reply.hijack();
  }
}

export function sendProblem(
  reply: FastifyReply,
  status: number,
  code: string,
  message: string,
  effect: WireError['error']['effect'] = 'none',
): FastifyReply {
  const problem: WireError = { error: { code, message, effect } };
  return reply.code(status).send(problem);
}

export function sendUnknown(reply: FastifyReply): FastifyReply {
  return sendProblem(reply, 404, 'not_found', 'The books know nothing of it so far.');
}

export function sendError(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof SandboxScriptError) return sendProblem(reply, 400, 'invalid_script', error.message);
  const status = error.statusCode ?? 500;
  if (status < 500) return sendProblem(reply, status, 'invalid_request', error.message);
  return sendProblem(reply, 500, 'internal_error', 'Something went wrong.', 'unknown');
}
