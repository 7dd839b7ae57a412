import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';

export const PUBLIC = Symbol('Public');

/** Opens a route or a controller to callers without an API key, and documents that in OpenAPI. */
export function Public(): MethodDecorator & ClassDecorator {
  // In OpenAPI, an empty requirement means that none is needed.
  return applyDecorators(SetMetadata(PUBLIC, true), ApiSecurity({}));
}
