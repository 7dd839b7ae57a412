import { Injectable } from '@nestjs/common';
import type { Transaction } from '../../database/pipelined-transactions.js';
import type { Claim, ClaimState } from '../../idempotency/claims.store.js';
import type { NextStep, Operation, IncomingRequest, OperationRequest } from '../../idempotency/operation.js';
import type { ScopedKey } from '../../idempotency/scoped-key.js';
import { Answers } from '../../idempotency/wire/answers.js';
import { WebhookEndpointsStore } from './webhook-endpoints.store.js';
import { newSecret } from './webhook-secret.js';
import { endpointWithSecretToWire } from './webhook-endpoint.dto.js';

/** A day: a merchant may have to bring the new secret to many machines. */
const OVERLAP_MS = 24 * 3_600_000;

interface RotateSecretCommand {
  webhookEndpointId: string;
}

/**
 * Gives an endpoint a new secret, once per key. Otherwise a client that missed the answer and rotated again would end
 * the overlap of the secret that its receivers still use.
 */
@Injectable()
export class RotateSecretOperation implements Operation<RotateSecretCommand> {
  readonly name = 'rotate_webhook_secret';

  constructor(
    private readonly endpoints: WebhookEndpointsStore,
    private readonly answers: Answers,
  ) {}

  newResourceId({ command }: IncomingRequest<RotateSecretCommand>): string {
    return command.webhookEndpointId;
  }

  subjectOf({ merchantId, command }: OperationRequest<RotateSecretCommand>): string {
    return merchantId + command.webhookEndpointId;
  }

  reserve(tx: Transaction, requests: readonly OperationRequest<RotateSecretCommand>[]): Promise<ScopedKey[]> {
    return this.endpoints.rotate(
      tx,
      requests.map(({ merchantId, idempotencyKey, command }) => ({
        merchantId,
        idempotencyKey,
        webhookEndpointId: command.webhookEndpointId,
        secret: newSecret(),
        overlapMs: OVERLAP_MS,
      })),
    );
  }

  proceed(claim: Claim, { requestId }: OperationRequest<RotateSecretCommand>): Promise<NextStep> {
    return this.resume(claim, requestId);
  }

  /** Only the claim knows a rotation's key, so it cannot belong to another request. */
  originalFingerprint(): Promise<string | null> {
    return Promise.resolve(null);
  }

  async resume(claim: Claim, requestId: string): Promise<NextStep> {
    const endpoint = await this.endpoints.find(claim.merchantId, claim.resourceId);
    const answer =
      endpoint === null
        ? this.answers.problem({ code: 'not_found', what: 'webhook endpoint' }, requestId)
        : this.answers.json(200, endpointWithSecretToWire(endpoint, endpoint.secret), null);
    return { step: 'settle', settlement: { claim, answer, replayed: false, writes: [] } };
  }

  /** Reserving does everything, so a claim that is released has reserved nothing. */
  release(): Promise<void> {
    return Promise.resolve();
  }

  resourcePath({ status, resourceId }: Pick<ClaimState, 'status' | 'resourceId'>): string | null {
    return status === 'released' ? null : `/v1/webhook-endpoints/${resourceId}`;
  }
}
