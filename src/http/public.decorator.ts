import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';

export const PUBLIC = Symbol('Public');

/** Opens a route or a controller to callers without an API key, and says so in the OpenAPI document. */
export function Public(): MethodDecorator & ClassDecorator {
  // OpenAPI's empty requirement: nothing is needed.
  return applyDecorators(SetMetadata(PUBLIC, true), ApiSecurity({}));
}
