import { Injectable } from '@nestjs/common';
import type { Transaction } from '../../database/pipelined-transactions.js';
import type { EventType } from '../../events/events.store.js';
import { uuidv7 } from '../../ids/uuidv7.js';
import type { Claim } from '../../idempotency/claims.store.js';
import type { NextStep, OperationRequest, Reserved } from '../../idempotency/operation.js';
import { Answers, JSON_MEDIA_TYPE } from '../../payments/answers.js';
import type { WebhookEndpointEntity } from './webhook-endpoint.entity.js';
import { MAX_ENDPOINTS, WebhookEndpointsStore } from './webhook-endpoints.store.js';
import { newSecret } from './webhook-secret.js';
import { WebhookOperation } from './webhook-operation.js';
import { endpointWithSecretToWire } from './webhook-endpoint.dto.js';

export interface CreateEndpointCommand {
  url: string;
  eventTypes: EventType[] | null;
  description: string | null;
}

/** Makes an endpoint and its secret, once a key: whoever asks again while the answer is stored sees the same secret. */
@Injectable()
export class CreateEndpointOperation extends WebhookOperation<CreateEndpointCommand> {
  readonly name = 'create_webhook_endpoint';

  constructor(
    private readonly endpoints: WebhookEndpointsStore,
    private readonly answers: Answers,
  ) {
    super();
  }

  newResourceId({ receivedAt }: OperationRequest<CreateEndpointCommand>): string {
    return uuidv7(receivedAt.getTime());
  }

  /** Those of one merchant are counted, so one follows the other: of one statement none sees another's. */
  subjectOf({ merchantId }: OperationRequest<CreateEndpointCommand>): string {
    return merchantId;
  }

  async reserve(
    tx: Transaction,
    requests: readonly OperationRequest<CreateEndpointCommand>[],
  ): Promise<Reserved[]> {
    const locked = this.endpoints.lockMerchants(
      tx,
      requests.map(({ merchantId }) => merchantId),
    );
    const inserting = this.endpoints.insert(
      tx,
      requests.map(({ merchantId, idempotencyKey, receivedAt, command }) => ({
        merchantId,
        idempotencyKey,
        receivedAt,
        ...command,
        secret: newSecret(),
      })),
    );
    const [, inserted] = await Promise.all([locked, inserting]);
    return inserted.map((key) => ({ ...key, inserted: true }));
  }

  async proceed(
    claim: Claim,
    { requestId }: OperationRequest<CreateEndpointCommand>,
  ): Promise<NextStep<never>> {
    const endpoint = await this.endpoints.findByKey(claim);
    if (endpoint !== null) return created(claim, endpoint);
    const answer = this.answers.problem({ code: 'webhook_endpoint_limit', max: MAX_ENDPOINTS }, requestId);
    return { step: 'settle', settlement: { claim, answer, replayed: false } };
  }

  async originalFingerprint(request: OperationRequest<CreateEndpointCommand>): Promise<string | null> {
    return (await this.endpoints.findByKey(request))?.fingerprint ?? null;
  }

  async resume(claim: Claim): Promise<NextStep<never>> {
    const endpoint = await this.endpoints.findByKey(claim);
    return endpoint === null ? { step: 'release' } : created(claim, endpoint);
  }
}

/** A key whose stored answer has been deleted still stands for its endpoint, whose secret it does not show any more. */
function created(claim: Claim, endpoint: WebhookEndpointEntity): NextStep<never> {
  const { webhookEndpointId, fingerprint } = endpoint;
  const isFirst = endpoint.claimId === claim.claimId;
  const answer = {
    status: 201,
    contentType: JSON_MEDIA_TYPE,
    location: `/v1/webhook-endpoints/${webhookEndpointId}`,
    body: JSON.stringify(endpointWithSecretToWire(endpoint, isFirst ? endpoint.secret : null)),
  };
  return {
    step: 'settle',
    settlement: {
      claim: { ...claim, fingerprint, resourceId: webhookEndpointId },
      answer,
      replayed: !isFirst,
    },
  };
}
