import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import type { RefusalCode } from '../domain/errors.js';
import { ProblemDto } from './problem.dto.js';
import { problemKind, PROBLEMS, renderProblem } from './problem-table.js';

/** Stands for the public URL in examples until the document is served; see `openapi.ts`. */
export const EXAMPLE_BASE_URL = 'https://hapax.example';
const EXAMPLE_REQUEST_ID = '0b0f1c52-6a5e-4f0c-9a55-3b1d8c2f7e11';

const STRING = { type: 'string' } as const;

/** What the `headers` of a documented response may hold. */
export const REQUEST_ID_HEADER = {
  'X-Request-Id': {
    description: "The request's id: the client's own, where it sent a plain one.",
    schema: { ...STRING, example: EXAMPLE_REQUEST_ID },
  },
} as const;

export const REPLAYED_HEADER = {
  'Idempotent-Replayed': {
    description:
      'Whether this is the first answer given again (`true`), or the first answer itself (`false`).',
    schema: { ...STRING, enum: ['true', 'false'] as string[], example: 'false' },
  },
} as const;

export const LOCATION_HEADER = {
  Location: {
    description: 'The address of what was created.',
    schema: { ...STRING, format: 'uri-reference' },
  },
} as const;

export const RETRY_AFTER_HEADER = {
  'Retry-After': {
    description: 'Seconds to wait before the next try.',
    schema: { type: 'integer', minimum: 0, example: 1 },
  },
} as const;

const DESCRIBED_BY_HEADER = {
  Link: { description: 'Leads to what is expected, with `rel="describedby"`.', schema: STRING },
} as const;

const CHALLENGE_HEADER = {
  'WWW-Authenticate': { description: 'How to authenticate.', schema: { ...STRING, example: 'Bearer' } },
} as const;

/**
 * Documents problems, one response for each status with an example for each code. The examples are rendered by the
 * function that renders the answers, so they cannot drift apart from them.
 */
export function ApiProblems(...codes: RefusalCode[]): MethodDecorator & ClassDecorator {
  const byStatus = Map.groupBy(codes, (code) => PROBLEMS[code].status);
  const responses = [...byStatus].map(([status, sameStatus]) =>
    ApiResponse({
      status,
      description: sameStatus.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join('. '),
      headers: Object.assign({}, REQUEST_ID_HEADER, ...sameStatus.map(headersOf)),
      content: {
        'application/problem+json': {
          schema: { $ref: getSchemaPath(ProblemDto) },
          examples: Object.fromEntries(sameStatus.map((code) => [code, exampleOf(code)])),
        },
      },
    }),
  );
  return applyDecorators(ApiExtraModels(ProblemDto), ...responses);
}

/** Documents the request headers of a keyed route. Its answers carry {@link REPLAYED_HEADER}. */
export function ApiIdempotencyKey(): MethodDecorator {
  return applyDecorators(
    ApiHeader({
      name: 'Idempotency-Key',
      required: true,
      description:
        'One key for one intent: 1 to 255 visible ASCII characters, quoted or bare. Every try with the same key gets the first answer.',
      schema: { ...STRING, minLength: 1, example: '"order-1001-charge"' },
    }),
    ApiHeader({
      name: 'Prefer',
      required: false,
      description:
        'While the first request still runs, `wait=10` waits up to 10 seconds (at most 30) for its answer.',
      schema: { ...STRING, example: 'wait=10' },
    }),
  );
}

function exampleOf(code: RefusalCode): { summary: string; value: unknown } {
  const { example, title } = problemKind(code);
  const { body } = renderProblem(example, { requestId: EXAMPLE_REQUEST_ID, publicUrl: EXAMPLE_BASE_URL });
  return { summary: title, value: JSON.parse(body) };
}

function headersOf(code: RefusalCode): object {
  const { example } = problemKind(code);
  const { headers } = renderProblem(example, { requestId: EXAMPLE_REQUEST_ID, publicUrl: EXAMPLE_BASE_URL });
  return {
    ...('retry-after' in headers && RETRY_AFTER_HEADER),
    ...('link' in headers && DESCRIBED_BY_HEADER),
    ...('www-authenticate' in headers && CHALLENGE_HEADER),
  };
}
