import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import type { RefusalCode } from '../domain/errors.js';
import { ProblemDto } from './problem.dto.js';
import { problemKind, PROBLEMS, renderProblem } from './problem-table.js';

/** A placeholder for the public URL in examples. `openapi.ts` replaces it when it builds the document. */
export const EXAMPLE_BASE_URL = 'https://hapax.example';
const EXAMPLE_REQUEST_ID = '0b0f1c52-6a5e-4f0c-9a55-3b1d8c2f7e11';

/** The name of the security scheme in the OpenAPI document. */
export const API_KEY_AUTH = 'api_key';

const STRING = { type: 'string' } as const;

export const REQUEST_ID_HEADER = {
  'X-Request-Id': {
    description: "The request's id: the client's own, where it sent a plain one.",
    schema: { ...STRING, example: EXAMPLE_REQUEST_ID },
  },
} as const;

const REPLAYED_HEADER = {
  'Idempotent-Replayed': {
    description:
      'Whether this is the first answer given again (`true`), or the first answer itself (`false`).',
    schema: { ...STRING, enum: ['true', 'false'] as string[], example: 'false' },
  },
} as const;

const PREFERENCE_HEADER = {
  'Preference-Applied': {
    description: 'The wait that was granted, where `Prefer` asked for one.',
    schema: { ...STRING, example: 'wait=10' },
  },
} as const;

const DERIVED_KEY_HEADER = {
  'Idempotency-Key': {
    description: 'The key that was derived for a request that brought none, where the service does that.',
    schema: { ...STRING, example: 'bb3bb3fa86c3a0a1d2d2ac1d0f9c9d0e7e6d2b6d1d5f0d8c7f0a6a9d6f1e4c52' },
  },
} as const;

/** The headers of every answer of a keyed route, unless the answer is a problem. */
export const KEYED_HEADERS = {
  ...REQUEST_ID_HEADER,
  ...REPLAYED_HEADER,
  ...PREFERENCE_HEADER,
  ...DERIVED_KEY_HEADER,
} as const;

export const LOCATION_HEADER = {
  Location: {
    description: 'The address of what was created.',
    schema: {
      ...STRING,
      format: 'uri-reference',
      example: '/v1/payments/019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e',
    },
  },
} as const;

const RETRY_AFTER_HEADER = {
  'Retry-After': {
    description: 'Seconds to wait before the next try.',
    schema: { type: 'integer', minimum: 0, example: 1 },
  },
} as const;

const RATE_LIMIT_HEADERS = {
  RateLimit: {
    description:
      'How many requests are left, and for how many seconds (draft-ietf-httpapi-ratelimit-headers).',
    schema: { ...STRING, example: '"default";r=0;t=1' },
  },
  'RateLimit-Policy': {
    description: 'How many requests an API key has, and in how many seconds.',
    schema: { ...STRING, example: '"default";q=1000;w=1' },
  },
} as const;

const DESCRIBED_BY_HEADER = {
  Link: {
    description: 'Leads to what is expected, with `rel="describedby"`.',
    schema: {
      ...STRING,
      example: `<${EXAMPLE_BASE_URL}/problems/idempotency_key_missing>; rel="describedby"`,
    },
  },
} as const;

const CHALLENGE_HEADER = {
  'WWW-Authenticate': { description: 'How to authenticate.', schema: { ...STRING, example: 'Bearer' } },
} as const;

/** Metadata key: the problem codes already documented on a route or a controller. */
const DOCUMENTED_CODES = Symbol('DocumentedCodes');
/** Metadata key: the route reads an idempotency key, so its answers say whether they are replays. */
const KEYED = Symbol('Keyed');
/** The guard and the body parser answer with these before the key is read; a 500 may come before it too. */
const NEVER_KEYED_STATUSES: ReadonlySet<number> = new Set([401, 413, 415, 500]);

/**
 * Documents problems: one response per status, with one example per code. The function that renders the answers also
 * renders the examples, so the two cannot drift apart. You may use it several times on one route and all codes are
 * kept; Swagger alone would keep only the last response for a status.
 */
export function ApiProblems(...codes: RefusalCode[]): MethodDecorator & ClassDecorator {
  return (target: object, key?: string | symbol, descriptor?: PropertyDescriptor) => {
    const holder = (descriptor?.value ?? target) as object;
    const before = (Reflect.getMetadata(DOCUMENTED_CODES, holder) ?? []) as RefusalCode[];
    const all = [...new Set([...before, ...codes])];
    Reflect.defineMetadata(DOCUMENTED_CODES, all, holder);
    const isKeyed = Reflect.hasMetadata(KEYED, holder);
    const responses = [...Map.groupBy(all, (code) => PROBLEMS[code].status)].map(([status, sameStatus]) =>
      problemResponse(status, sameStatus, isKeyed && !NEVER_KEYED_STATUSES.has(status)),
    );
    const decorate = applyDecorators(ApiExtraModels(ProblemDto), ...responses);
    if (key === undefined || descriptor === undefined) (decorate as ClassDecorator)(target as never);
    else (decorate as MethodDecorator)(target, key, descriptor);
  };
}

function problemResponse(
  status: number,
  codes: RefusalCode[],
  isKeyed: boolean,
): MethodDecorator & ClassDecorator {
  return ApiResponse({
    status,
    description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join('. '),
    headers: Object.assign({}, REQUEST_ID_HEADER, isKeyed ? REPLAYED_HEADER : {}, ...codes.map(headersOf)),
    content: {
      'application/problem+json': {
        schema: { $ref: getSchemaPath(ProblemDto) },
        examples: Object.fromEntries(codes.map((code) => [code, exampleOf(code)])),
      },
    },
  });
}

/**
 * Documents the request headers of a keyed route. Its answers carry {@link REPLAYED_HEADER}. Each operation has its own
 * example key, so that trying out one route after another does not send two requests under one key.
 */
export function ApiIdempotencyKey(operation: string): MethodDecorator {
  return applyDecorators(
    SetMetadata(KEYED, true),
    ApiHeader({
      name: 'Idempotency-Key',
      required: true,
      description:
        'One key for one intent: 1 to 255 visible ASCII characters, quoted or bare. Every try with the same key gets the first answer.',
      schema: { ...STRING, minLength: 1, example: `"try-out-1-${operation}"` },
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
    ...(code === 'rate_limited' && RATE_LIMIT_HEADERS),
    ...('link' in headers && DESCRIBED_BY_HEADER),
    ...('www-authenticate' in headers && CHALLENGE_HEADER),
  };
}
