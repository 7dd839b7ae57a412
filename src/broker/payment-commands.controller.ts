import { Controller, Logger } from '@nestjs/common';
import { Ctx, MessagePattern, NatsContext, Payload } from '@nestjs/microservices';
import type { MsgHdrs } from '@nats-io/transport-node';
import { BEARER, NOT_VALID, requireScopes } from '../auth/admission.js';
import { hashApiKey } from '../auth/api-key.js';
import type { ApiKey } from '../auth/api-keys.store.js';
import { KnownApiKeys } from '../auth/known-api-keys.js';
import { RateLimits } from '../auth/rate-limits.js';
import { RefusedError } from '../domain/errors.js';
import { renderProblem } from '../http/problem-table.js';
import { PublicUrl } from '../http/public-url.js';
import { refusalOf } from '../http/refusal-of.js';
import { ValidationPipe } from '../http/validation.pipe.js';
import { parseIdempotencyKey } from '../idempotency/wire/idempotency-key.js';
import { MAX_WAIT_SECONDS } from '../idempotency/wire/prefer.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { Clock } from '../time/clock.js';
import type { Answer } from '../idempotency/operation.js';
import { OperationRunner } from '../idempotency/operation.runner.js';
import { CreatePaymentDto, toChargeCommand, withDefaults } from '../payments/payment.dto.js';
import type { CommandMessage, CommandReply } from './command-codec.js';

/** The subject of the command that does the same as `POST /v1/payments`. */
const CREATE_PAYMENT = 'payments.create';

/**
 * Runs commands from a broker with the runner that serves HTTP: one key is one payment, however often its requests
 * arrive and over whichever transport. The steps of the guard, the pipe and the filter are spelled out here, because
 * those work on HTTP requests and a message is not one.
 */
@Controller()
export class PaymentCommandsController {
  private readonly logger = new Logger(PaymentCommandsController.name);
  private readonly validation = new ValidationPipe();

  constructor(
    private readonly runner: OperationRunner,
    private readonly knownKeys: KnownApiKeys,
    private readonly rateLimits: RateLimits,
    private readonly publicUrl: PublicUrl,
    private readonly clock: Clock,
  ) {}

  @MessagePattern(CREATE_PAYMENT)
  async create(@Payload() message: CommandMessage, @Ctx() context: NatsContext): Promise<CommandReply> {
    const requestId = uuidv7();
    try {
      return replyOf(await this.charge(message, context.getHeaders() as MsgHdrs | undefined, requestId));
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal.code === 'internal_error') {
        this.logger.error(
          `command ${requestId} failed`,
          error instanceof Error ? error.stack : String(error),
        );
      }
      return renderProblem(refusal, { requestId, publicUrl: this.publicUrl.base });
    }
  }

  private async charge(
    message: CommandMessage,
    headers: MsgHdrs | undefined,
    requestId: string,
  ): Promise<Answer> {
    if ('refusal' in message) throw new RefusedError(message.refusal);
    const { api_key, idempotency_key, ...fields } = message.fields;
    const { merchantId } = await this.authenticate(tokenOf(headers, api_key));
    const idempotencyKey = keyOf(idempotency_key);
    const dto = this.validation.transform(fields, { type: 'body', metatype: CreatePaymentDto });
    const body = withDefaults(dto as CreatePaymentDto);
    return this.runner.run({
      operation: 'charge',
      merchantId,
      idempotencyKey,
      requestId,
      receivedAt: this.clock.now(),
      // A message delivered again while the first one runs gets the first one's answer.
      waitMs: MAX_WAIT_SECONDS * 1_000,
      lifetimeMs: null,
      announceKey: () => undefined,
      body,
      command: toChargeCommand(body),
    });
  }

  private async authenticate(token: string | undefined): Promise<ApiKey> {
    if (token === undefined) {
      throw new RefusedError({
        code: 'unauthorized',
        reason: 'An API key is required: send it as api_key, or in an Authorization header.',
      });
    }
    const hashText = hashApiKey(token).toString('base64');
    const remembered = this.knownKeys.remembered(hashText);
    const apiKey = remembered === undefined ? await this.knownKeys.lookUp(hashText) : remembered;
    if (apiKey === null) throw new RefusedError({ code: 'unauthorized', reason: NOT_VALID });
    await this.rateLimits.countMessage(apiKey.apiKeyId);
    requireScopes(apiKey, ['payments:write']);
    return apiKey;
  }
}

function tokenOf(headers: MsgHdrs | undefined, field: unknown): string | undefined {
  const header = headers?.get('Authorization');
  if (header) return BEARER.exec(header)?.[1];
  return typeof field === 'string' ? BEARER.exec(`Bearer ${field}`)?.[1] : undefined;
}

function keyOf(field: unknown): string {
  if (field === undefined || field === null) throw new RefusedError({ code: 'idempotency_key_missing' });
  if (typeof field === 'string') return parseIdempotencyKey(field);
  throw new RefusedError({
    code: 'idempotency_key_invalid',
    reason: 'The idempotency_key must be a string.',
  });
}

function replyOf({ status, contentType, location, replayed, body }: Answer): CommandReply {
  const headers = {
    'content-type': contentType,
    'idempotent-replayed': String(replayed),
    ...(location !== null && { location }),
  };
  return { status, headers, body };
}
