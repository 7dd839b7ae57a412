import { Injectable } from '@nestjs/common';
import type { Transaction } from '../../database/pipelined-transactions.js';
import type { EventType } from '../../events/event.js';
import type { Claim, ClaimState } from '../../idempotency/claims.store.js';
import type { NextStep, Operation, IncomingRequest, OperationRequest } from '../../idempotency/operation.js';
import type { ScopedKey } from '../../idempotency/scoped-key.js';
import type { Settlement } from '../../idempotency/settlement.js';
import { Answers } from '../../idempotency/wire/answers.js';
import { uuidv7 } from '../../ids/uuidv7.js';
import type { WebhookEndpointEntity } from './webhook-endpoint.entity.js';
import { MAX_ENDPOINTS, WebhookEndpointsStore } from './webhook-endpoints.store.js';
import { newSecret } from './webhook-secret.js';
import { endpointWithSecretToWire } from './webhook-endpoint.dto.js';

interface CreateEndpointCommand {
  url: string;
  eventTypes: EventType[] | null;
  description: string | null;
}

/** Makes an endpoint and its secret, once per key. As long as the answer is stored, a retry gets the same secret. */
@Injectable()
export class CreateEndpointOperation implements Operation<CreateEndpointCommand> {
  readonly name = 'create_webhook_endpoint';

  constructor(
    private readonly endpoints: WebhookEndpointsStore,
    private readonly answers: Answers,
  ) {}

  newResourceId({ receivedAt }: IncomingRequest<CreateEndpointCommand>): string {
    return uuidv7(receivedAt.getTime());
  }

  /** We count a merchant's endpoints, so one statement must not insert two of them: neither would see the other. */
  subjectOf({ merchantId }: OperationRequest<CreateEndpointCommand>): string {
    return merchantId;
  }

  async reserve(
    tx: Transaction,
    requests: readonly OperationRequest<CreateEndpointCommand>[],
  ): Promise<ScopedKey[]> {
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
    return inserted;
  }

  async proceed(claim: Claim, { requestId }: OperationRequest<CreateEndpointCommand>): Promise<NextStep> {
    const endpoint = await this.endpoints.findByKey(claim);
    if (endpoint !== null) return { step: 'settle', settlement: this.created(claim, endpoint) };
    const answer = this.answers.problem({ code: 'webhook_endpoint_limit', max: MAX_ENDPOINTS }, requestId);
    return { step: 'settle', settlement: { claim, answer, replayed: false, onlyHere: true, writes: [] } };
  }

  async originalFingerprint(request: OperationRequest<CreateEndpointCommand>): Promise<string | null> {
    return (await this.endpoints.findByKey(request))?.fingerprint ?? null;
  }

  async resume(claim: Claim): Promise<NextStep> {
    const endpoint = await this.endpoints.findByKey(claim);
    return endpoint === null
      ? { step: 'release' }
      : { step: 'settle', settlement: this.created(claim, endpoint) };
  }

  /** Reserving does everything, so a claim that is released has reserved nothing. */
  release(): Promise<void> {
    return Promise.resolve();
  }

  resourcePath({ status, resourceId }: Pick<ClaimState, 'status' | 'resourceId'>): string | null {
    return status === 'released' ? null : `/v1/webhook-endpoints/${resourceId}`;
  }

  /** A key whose stored answer was deleted still stands for its endpoint, but no longer shows the secret. */
  private created(claim: Claim, endpoint: WebhookEndpointEntity): Settlement {
    const { webhookEndpointId, fingerprint } = endpoint;
    const isFirst = endpoint.claimId === claim.claimId;
    const resource = endpointWithSecretToWire(endpoint, isFirst ? endpoint.secret : null);
    return {
      claim: { ...claim, fingerprint, resourceId: webhookEndpointId },
      answer: this.answers.json(201, resource, `/v1/webhook-endpoints/${webhookEndpointId}`),
      replayed: !isFirst,
      writes: [],
    };
  }
}
