import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import { API_KEY_AUTH, ApiProblems } from '../http/api-docs.js';
import type { Scope } from './scopes.js';

export const NEEDED_SCOPES = Symbol('Scopes');

/**
 * Names the scopes that a route or a controller requires, and documents them in OpenAPI. A key must have all of them. A
 * key that lacks one gets 403 `forbidden`, before anything is read or claimed. A route without this decorator is open
 * to every valid key.
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
    // Since OpenAPI 3.1, a scheme that is not OAuth may list roles too.
    ApiSecurity(API_KEY_AUTH, scopes),
    ApiProblems('forbidden', 'rate_limited'),
  );
}
