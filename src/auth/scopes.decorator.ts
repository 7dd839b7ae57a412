import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import { API_KEY_AUTH, ApiProblems } from '../http/api-docs.js';
import type { Scope } from './scopes.js';

export const NEEDED_SCOPES = Symbol('Scopes');

/**
 * Says which scopes a route or a controller asks for, all of them, and says so in the OpenAPI document. Whoever lacks
 * one gets 403 `forbidden`, before anything is read or claimed. A route without it is open to every valid key.
 *
 * @example
 * ```ts
 * @Get()
 * @Scopes('payments:read')
 * list(@CurrentMerchant() merchantId: string): Promise<PaymentPageDto> { … }
 * ```
 */
export function Scopes(...scopes: [Scope, ...Scope[]]): MethodDecorator & ClassDecorator {
  return applyDecorators(
    SetMetadata(NEEDED_SCOPES, scopes),
    // OpenAPI 3.1 lets a scheme that is not OAuth list the roles that it needs.
    ApiSecurity(API_KEY_AUTH, scopes),
    ApiProblems('forbidden', 'rate_limited'),
  );
}
