import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RefusedError } from '../domain/errors.js';
import type {} from './raw-body.js';

type Done = (error: Error | null, body?: unknown) => void;

declare module 'fastify' {
  interface FastifyInstance {
    /** Parses a body for a route that gets its bytes. An error is one that the client caused. */
    parseJson(request: FastifyRequest, bytes: Buffer, done: Done): void;
  }
}

/**
 * A body must be JSON in UTF-8, and an empty one counts as no body. We check for UTF-8 ourselves, because the decoder
 * would replace invalid bytes, and two different requests could become the same.
 */
export function acceptOnlyJson(instance: FastifyInstance): void {
  instance.removeAllContentTypeParsers();
  // Refuses `__proto__` and `constructor.prototype` keys at any depth.
  const parser = instance.getDefaultJsonParser('error', 'error');
  const parse = (request: FastifyRequest, bytes: Buffer, done: Done): void => {
    if (bytes.length === 0) done(null, undefined);
    else if (!isUtf8(bytes)) {
      done(new RefusedError({ code: 'malformed_body', reason: 'The body is not valid UTF-8.' }));
    } else void parser(request, bytes.toString('utf8'), done);
  };
  instance.decorate('parseJson', parse);
  instance.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    if (request.routeOptions.config.rawBody === true) done(null, bytes);
    else parse(request, bytes, done);
  });
}
