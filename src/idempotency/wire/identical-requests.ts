import { hash } from 'node:crypto';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify';
import { Admission } from '../../auth/admission.js';
import type {} from '../../http/json-body.js';
import { RAW_BODY } from '../../http/raw-body.js';
import { Metrics } from '../../metrics/metrics.js';
import { Clock } from '../../time/clock.js';
import type { StoredAnswer } from '../claims.store.js';
import { type AnsweredRequest, ReplayCache } from '../replay-cache.js';
import { readIdempotencyKey } from './idempotency-key.js';
import { beginKeyedAnswer, writeAnswer } from './keyed-answer.js';
import { readPreferWait } from './prefer.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set by `@Idempotent()`: the body is parsed here, unless the request was answered before. */
    keyed?: boolean;
  }
  interface FastifyRequest {
    /** The body of a keyed request as it was sent. */
    bytes: Buffer | null;
  }
}

/** For `@RouteConfig()`. */
export const KEYED_ROUTE = { ...RAW_BODY, keyed: true } as const;

const NO_BYTES = Buffer.alloc(0);

/** An answer that is ready for a request, if its API key may have it. */
interface Found {
  answer: StoredAnswer;
  neededScopes: AnsweredRequest['neededScopes'];
}

/**
 * A retry that is byte for byte a request which was answered before gets its answer here, before it is parsed, validated
 * and compared by its fingerprint. The answer is the same, since everything that these steps read is the same. When in
 * doubt, the request goes the whole way: with a key that is derived, sent twice or not valid, with a `Content-Encoding`,
 * with an API key that is not cached, after the answer's lifetime.
 *
 * Only this process's memory is asked. Another process's first replay reads the database, and is remembered here too.
 */
@Injectable()
export class IdenticalRequests implements OnModuleInit {
  constructor(
    private readonly admission: Admission,
    private readonly replays: ReplayCache,
    private readonly metrics: Metrics,
    private readonly clock: Clock,
    private readonly host: HttpAdapterHost<FastifyAdapter>,
  ) {}

  /** A hook, because the answer leaves out all of Nest. The last one before the handler, because it parses the body. */
  onModuleInit(): void {
    const instance = this.host.httpAdapter.getInstance<FastifyInstance>();
    instance.addHook('preHandler', (request, reply, done) => {
      if (request.routeOptions.config.keyed !== true) return done();
      request.bytes = Buffer.isBuffer(request.body) ? request.body : NO_BYTES;
      const found = this.find(request, request.bytes);
      if (found === null) return parse(request, reply, request.bytes, done);
      // Fastify waits for a promise where there is one, and answers its error.
      return this.answer(found, request, reply);
    });
  }

  private find(request: FastifyRequest, bytes: Buffer): Found | null {
    const idempotencyKey = keyOf(request);
    if (idempotencyKey === null) return null;
    const merchantId = this.admission.merchantOf(request);
    if (merchantId === undefined) return null;
    const cached = this.replays.get({ merchantId, idempotencyKey }, this.clock.now().getTime());
    // A new key ends here, and has not paid for a hash.
    if (cached?.request === undefined || cached.request.digest !== digestOf(request, bytes)) return null;
    return { answer: cached.answer, neededScopes: cached.request.neededScopes };
  }

  private async answer(
    { answer, neededScopes }: Found,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const admitted = this.admission.admit(request, reply, neededScopes);
    if (admitted !== true) await admitted;
    beginKeyedAnswer(reply, readPreferWait(request.headers.prefer));
    this.metrics.replayed('memory');
    void reply.send(writeAnswer(reply, { ...answer, replayed: true }));
  }
}

/** What to remember of a request that got an answer; null if a retry of it must go the whole way. */
export function answeredRequest(request: FastifyRequest): AnsweredRequest | null {
  const { bytes, neededScopes } = request;
  if (bytes === null || neededScopes === null || keyOf(request) === null) return null;
  return { digest: digestOf(request, bytes), neededScopes };
}

/** Null for a request that must go the whole way. */
function keyOf({ headers, raw }: FastifyRequest): string | null {
  if (headers['content-encoding'] !== undefined) return null;
  try {
    return readIdempotencyKey(raw.rawHeaders);
  } catch {
    return null;
  }
}

/**
 * Everything but merchant and key that decides what a request asks for. A missing Content-Type differs from an empty
 * one. Each byte of the body becomes one character, so different bodies never give the same text.
 */
function digestOf({ headers, raw }: FastifyRequest, bytes: Buffer): string {
  const contentType = headers['content-type'];
  const type = contentType === undefined ? '' : `:${contentType}`;
  return hash('sha256', `${raw.method} ${raw.url}\n${type}\n${bytes.toString('latin1')}`, 'base64');
}

function parse(
  request: FastifyRequest,
  reply: FastifyReply,
  bytes: Buffer,
  done: HookHandlerDoneFunction,
): void {
  request.server.parseJson(request, bytes, (error, body) => {
    request.body = body;
    if (error === null) return done();
    // Fastify closes the connection after a body that it cannot parse, and so do we.
    void reply.header('connection', 'close');
    done(error);
  });
}
