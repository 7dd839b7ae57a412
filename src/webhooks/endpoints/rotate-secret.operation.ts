import { Injectable } from '@nestjs/common';
import type { Transaction } from '../../database/pipelined-transactions.js';
import type { Claim } from '../../idempotency/claims.store.js';
import type { NextStep, OperationRequest, Reserved } from '../../idempotency/operation.js';
import { Answers, JSON_MEDIA_TYPE } from '../../payments/answers.js';
import { WebhookEndpointsStore } from './webhook-endpoints.store.js';
import { newSecret } from './webhook-secret.js';
import { WebhookOperation } from './webhook-operation.js';
import { endpointWithSecretToWire } from './webhook-endpoint.dto.js';

/** A day for whoever has to bring a new secret to many machines. */
const OVERLAP_MS = 24 * 3_600_000;

export interface RotateSecretCommand {
  webhookEndpointId: string;
}

/**
 * Gives an endpoint a new secret, once a key: a second rotation by a client that did not hear of the first would end the
 * overlap of the secret that its receivers still use.
 */
@Injectable()
export class RotateSecretOperation extends WebhookOperation<RotateSecretCommand> {
  readonly name = 'rotate_webhook_secret';

  constructor(
    private readonly endpoints: WebhookEndpointsStore,
    private readonly answers: Answers,
  ) {
    super();
  }

  newResourceId({ command }: OperationRequest<RotateSecretCommand>): string {
    return command.webhookEndpointId;
  }

  subjectOf({ merchantId, command }: OperationRequest<RotateSecretCommand>): string {
    return merchantId + command.webhookEndpointId;
  }

  async reserve(
    tx: Transaction,
    requests: readonly OperationRequest<RotateSecretCommand>[],
  ): Promise<Reserved[]> {
    const rotated = await this.endpoints.rotate(
      tx,
      requests.map(({ merchantId, idempotencyKey, command }) => ({
        merchantId,
        idempotencyKey,
        webhookEndpointId: command.webhookEndpointId,
        secret: newSecret(),
        overlapMs: OVERLAP_MS,
      })),
    );
    return rotated.map((key) => ({ ...key, inserted: true }));
  }

  proceed(claim: Claim, { requestId }: OperationRequest<RotateSecretCommand>): Promise<NextStep<never>> {
    return this.resume(claim, requestId);
  }

  /** Nothing but the claim knows a rotation's key, so there is no other request that it could belong to. */
  originalFingerprint(): Promise<string | null> {
    return Promise.resolve(null);
  }

  async resume(claim: Claim, requestId: string): Promise<NextStep<never>> {
    const endpoint = await this.endpoints.find(claim.merchantId, claim.resourceId);
    if (endpoint === null) {
      const answer = this.answers.problem({ code: 'not_found', what: 'webhook endpoint' }, requestId);
      return { step: 'settle', settlement: { claim, answer, replayed: false } };
    }
    const answer = {
      status: 200,
      contentType: JSON_MEDIA_TYPE,
      location: null,
      body: JSON.stringify(endpointWithSecretToWire(endpoint, endpoint.secret)),
    };
    return { step: 'settle', settlement: { claim, answer, replayed: false } };
  }
}
