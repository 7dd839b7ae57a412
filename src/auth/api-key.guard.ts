import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PUBLIC } from '../http/public.decorator.js';
import { Admission } from './admission.js';
import type { Scope } from './scopes.js';
import { NEEDED_SCOPES } from './scopes.decorator.js';

/**
 * Admits a request to a route, or refuses it. This happens before any claim, so a request that is refused here uses up no
 * idempotency key, and a replay is refused like any other request.
 */
@Injectable()
export class ApiKeyGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly admission: Admission,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const handlers = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean>(PUBLIC, handlers)) return true;
    const needed = this.reflector.getAllAndOverride<Scope[] | undefined>(NEEDED_SCOPES, handlers) ?? [];
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    request.neededScopes = needed;
    return this.admission.admit(request, http.getResponse<FastifyReply>(), needed);
  }
}
