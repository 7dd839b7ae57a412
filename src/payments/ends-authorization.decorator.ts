import { applyDecorators, Post, type Type } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse } from '@nestjs/swagger';
import { Scopes } from '../auth/scopes.decorator.js';
import { ApiProblems, KEYED_HEADERS } from '../http/api-docs.js';
import { Idempotent } from '../idempotency/wire/idempotent.decorator.js';
import { PaymentDto } from './payment.dto.js';

/** What the capture and cancel routes share. */
export function EndsAuthorization(route: {
  operation: 'capture' | 'cancel';
  summary: string;
  body: Type<object>;
  /** The OpenAPI description of the 200 answer. */
  done: string;
}): MethodDecorator {
  return applyDecorators(
    Post(`:transaction_id/${route.operation}`),
    Scopes('payments:write'),
    Idempotent({ operation: route.operation }),
    ApiOperation({ summary: route.summary, operationId: `${route.operation}Payment` }),
    ApiBody({ type: route.body, required: false }),
    ApiResponse({ status: 200, type: PaymentDto, description: route.done, headers: KEYED_HEADERS }),
    ApiResponse({
      status: 202,
      type: PaymentDto,
      description: 'The gateway has not said yet what it did. Ask again with the same key.',
      headers: KEYED_HEADERS,
    }),
    ApiProblems(
      'malformed_body',
      'validation_failed',
      'not_found',
      'payload_too_large',
      'unsupported_media_type',
    ),
  );
}
