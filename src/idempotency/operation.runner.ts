import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONFIG, type Config } from '../config/config.js';
import { isDatabaseUnavailable } from '../database/database-errors.js';
import { GroupCommit } from '../database/group-commit.js';
import { CommitUnknownError, PipelinedTransactions } from '../database/pipelined-transactions.js';
import { RefusedError } from '../domain/errors.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { type KeyConflict, Metrics } from '../metrics/metrics.js';
import { Backoff } from '../time/backoff.js';
import { Clock } from '../time/clock.js';
import { ClaimsStore, type Claim, type ClaimState, type SeenClaim } from './claims.store.js';
import { DerivedKeysStore } from './derived-keys.store.js';
import { fingerprint, sameRequest } from './fingerprint.js';
import { DERIVED_KEYS_VERSION, type RequestContents } from './fingerprint-versions.js';
import { GatewayKeys } from './gateway-key.js';
import {
  callsGateway,
  type Answer,
  type AnyOperation,
  type IncomingRequest,
  type OperationRequest,
} from './operation.js';
import { OperationExecutor } from './operation.executor.js';
import { OperationRegistry } from './operation.registry.js';
import { ReplayCache } from './replay-cache.js';
import { isTransient, outcomeUnknown, RETRY_AFTER_SECONDS, serviceUnavailable } from './retryable.js';
import { compareKeys, identityOf } from './scoped-key.js';

/** How often a waiting request looks at a key that another process works on: soon at first, then less often. */
const FIRST_LOOK_MS = 25;
const MAX_LOOK_MS = 500;

/** A key that this process is working on. */
interface Running {
  fingerprint: string;
  /** True once the claim is ours. Until then, another request's fingerprint may be the right one. */
  claimed: boolean;
  /** Why the key could not be claimed. Requests that wait for it get the same error instead of trying one by one. */
  failure?: unknown;
  decided: PromiseWithResolvers<void>;
  done: PromiseWithResolvers<void>;
}

/** A claim that we took, and whether we reserved for it as well. */
interface Taken {
  claim: Claim;
  reserved: boolean;
}

/** Runs any operation exactly once per key, and gives every repeat the first answer. */
@Injectable()
export class OperationRunner {
  private readonly running = new Map<string, Running>();
  private readonly reservations = new Map<
    AnyOperation,
    GroupCommit<OperationRequest<unknown>, Taken | null>
  >();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly transactions: PipelinedTransactions,
    private readonly operations: OperationRegistry,
    private readonly claims: ClaimsStore,
    private readonly derivedKeys: DerivedKeysStore,
    private readonly gatewayKeys: GatewayKeys,
    private readonly executor: OperationExecutor,
    private readonly cache: ReplayCache,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
  ) {}

  /**
   * The answer to a keyed request: made now, or stored when it was first made.
   * @throws RefusedError `idempotency_key_reused`, `idempotency_key_in_progress`, `service_unavailable` or
   * `outcome_unknown`. Every other refusal of an operation is an answer, stored like a success.
   */
  async run<Command>(incoming: IncomingRequest<Command>): Promise<Answer> {
    const operation = this.operations.get(incoming.operation);
    if (operation === undefined) throw new Error(`there is no operation ${incoming.operation}`);
    const waitUntilMs = this.clock.monotonicMs() + incoming.waitMs;
    const request = await this.underItsKey(operation, incoming);
    const looks = new Backoff({ firstMs: FIRST_LOOK_MS, longestMs: MAX_LOOK_MS });
    for (;;) {
      const answer = this.fromMemory(request) ?? (await this.runUnlessRunning(operation, request));
      if (answer !== null) return answer;
      const leftMs = waitUntilMs - this.clock.monotonicMs();
      if (leftMs <= 0) throw this.conflict('idempotency_key_in_progress');
      const here = this.running.get(identityOf(request));
      await Promise.race([sleep(Math.min(looks.nextMs(), leftMs)), ...(here ? [here.done.promise] : [])]);
    }
  }

  /** Resolves once no operation runs in this process, so that a shutdown cuts none off. */
  async idle(): Promise<void> {
    while (this.running.size > 0)
      await Promise.all([...this.running.values()].map(({ done }) => done.promise));
  }

  private async underItsKey<Command>(
    operation: AnyOperation,
    incoming: IncomingRequest<Command>,
  ): Promise<OperationRequest<Command>> {
    const { merchantId, command, params, body, requestId, receivedAt, lifetimeMs } = incoming;
    const contents = { operation: operation.name, params, body };
    const idempotencyKey = incoming.idempotencyKey ?? (await this.deriveKey(incoming, contents));
    const { gatewayKeys } = this;
    return {
      merchantId,
      idempotencyKey,
      claimId: uuidv7(),
      /** Derived only when it is asked for: a replay from memory needs none. */
      get gatewayKey() {
        if (!callsGateway(operation)) return null;
        const called = { operation: operation.name, params: incoming.gatewayParams ?? params, body };
        return gatewayKeys.derive({ merchantId, idempotencyKey, ...called });
      },
      operation: operation.name,
      fingerprint: fingerprint(contents),
      contents,
      resourceId: operation.newResourceId(incoming),
      command,
      requestId,
      receivedAt,
      lifetimeMs,
    };
  }

  private async deriveKey(
    { merchantId, announceKey }: IncomingRequest<unknown>,
    contents: RequestContents,
  ): Promise<string> {
    const key = await this.derivedKeys.keyFor(merchantId, fingerprint(contents, DERIVED_KEYS_VERSION));
    announceKey(key);
    return key;
  }

  private fromMemory(request: OperationRequest<unknown>): Answer | null {
    const cached = this.cache.get(request, this.clock.now().getTime());
    if (cached === undefined) return null;
    if (!sameRequest(cached.fingerprint, request)) throw this.conflict('idempotency_key_reused');
    this.metrics.replayed('memory');
    return { ...cached.answer, replayed: true };
  }

  /** @returns null while this or another process works on the key. */
  private async runUnlessRunning(
    operation: AnyOperation,
    request: OperationRequest<unknown>,
  ): Promise<Answer | null> {
    const key = identityOf(request);
    const other = this.running.get(key);
    if (other !== undefined) {
      await other.decided.promise;
      if (!other.claimed && other.failure !== undefined && sameRequest(other.fingerprint, request))
        throw other.failure;
      if (other.claimed && !sameRequest(other.fingerprint, request)) {
        await this.refuseUnlessOriginal(operation, request);
      }
      // The other request did not get the claim: either the answer is known by now, or another process has the key.
      // Look again.
      return other.claimed ? null : (this.fromMemory(request) ?? this.runUnlessRunning(operation, request));
    }
    const running: Running = {
      fingerprint: request.fingerprint,
      claimed: false,
      decided: Promise.withResolvers<void>(),
      done: Promise.withResolvers<void>(),
    };
    this.running.set(key, running);
    try {
      return await this.claimAndExecute(operation, request, running);
    } catch (error) {
      running.failure = error;
      throw error;
    } finally {
      this.running.delete(key);
      running.decided.resolve();
      running.done.resolve();
    }
  }

  private async claimAndExecute(
    operation: AnyOperation,
    request: OperationRequest<unknown>,
    running: Running,
  ): Promise<Answer | null> {
    let leasedAtMs = this.clock.monotonicMs();
    let taken = await this.reserve(operation, request);
    if (taken === null) {
      const found = await this.lookUp(operation, request);
      if (found === null || 'answer' in found) return found?.answer ?? null;
      leasedAtMs = this.clock.monotonicMs();
      taken = await this.reserve(operation, { ...request, seen: found.seen });
      if (taken === null) return null;
    }
    running.claimed = true;
    running.decided.resolve();
    try {
      return await this.executeTaken(operation, request, taken, leasedAtMs);
    } catch (error) {
      // The claim stands, and recovery will run it: the client must not hear "no effect".
      throw error instanceof RefusedError || !isTransient(error) ? error : outcomeUnknown(error);
    }
  }

  private async executeTaken(
    operation: AnyOperation,
    request: OperationRequest<unknown>,
    { claim, reserved }: Taken,
    leasedAtMs: number,
  ): Promise<Answer> {
    if (claim.resumed) this.metrics.claimTakenOver('retry');
    const next = await operation.proceed(claim, request, reserved);
    const answer = await this.executor.execute(operation, { claim, leasedAtMs }, next);
    // The key belongs to an earlier request whose stored answer was reaped. Restore that answer, but refuse this
    // request.
    if (next.step === 'settle' && !sameRequest(next.settlement.claim.fingerprint, request)) {
      throw this.conflict('idempotency_key_reused');
    }
    if (answer.replayed) this.metrics.replayed('database');
    return answer;
  }

  /**
   * Reads the state of a key that is not new.
   * @returns its answer, or its claim if we may take that; null while somebody works on it.
   */
  private async lookUp(
    operation: AnyOperation,
    request: OperationRequest<unknown>,
  ): Promise<{ answer: Answer } | { seen: SeenClaim } | null> {
    const [state] = await this.claims.find([request]);
    // Reaped since: the next look claims it.
    if (state === undefined) return null;
    if (state.status === 'reversed') throw this.conflict('idempotency_key_reversed');
    const continued = sameRequest(state.fingerprint, request);
    if (state.status === 'released') return { seen: { ...state, continued } };
    if (!continued) {
      if (state.status === 'completed') throw this.conflict('idempotency_key_reused');
      await this.refuseUnlessOriginal(operation, request);
    }
    if (state.answer === null) return isToTake(state, request) ? { seen: { ...state, continued } } : null;
    this.remember(state, state.answer);
    this.metrics.replayed('database');
    return { answer: { ...state.answer, replayed: true } };
  }

  /**
   * Another body runs under this key. That body may be the wrong one; then the key's original request waits until it
   * is settled.
   */
  private async refuseUnlessOriginal(
    operation: AnyOperation,
    request: OperationRequest<unknown>,
  ): Promise<void> {
    if (!sameRequest(await operation.originalFingerprint(request), request)) {
      throw this.conflict('idempotency_key_reused');
    }
  }

  private remember(state: ClaimState, answer: NonNullable<ClaimState['answer']>): void {
    const expiresAtMs =
      state.expiresAt?.getTime() ?? this.clock.now().getTime() + this.config.idempotencyRetentionMs;
    this.cache.put(state, { fingerprint: state.fingerprint, answer, expiresAtMs });
  }

  private async reserve(operation: AnyOperation, request: OperationRequest<unknown>): Promise<Taken | null> {
    try {
      return await this.reservationsOf(operation).submit(request);
    } catch (error) {
      // The claim may stand, and then recovery will run it: the client must not hear "no effect".
      if (error instanceof CommitUnknownError) throw outcomeUnknown(error);
      throw isTransient(error) ? serviceUnavailable(error) : error;
    }
  }

  private reservationsOf(operation: AnyOperation): GroupCommit<OperationRequest<unknown>, Taken | null> {
    let group = this.reservations.get(operation);
    if (group === undefined) {
      group = new GroupCommit((...args) => this.commitReservations(operation, ...args), {
        failsForAll: isDatabaseUnavailable,
        sideLane: this.transactions.sideLane,
        onGroup: (size) => this.metrics.groupCommitted('reserve', size),
        ...(operation.subjectOf && {
          subjectOf: (request: OperationRequest<unknown>) => operation.subjectOf?.(request) ?? '',
        }),
      });
      this.reservations.set(operation, group);
    }
    return group;
  }

  /** Takes the claims and reserves for them, in one transaction. `running` keeps a key from being in a group twice. */
  private async commitReservations(
    operation: AnyOperation,
    requests: OperationRequest<unknown>[],
    lockTimeoutMs?: number,
  ): Promise<(Taken | null)[]> {
    const sorted = requests.toSorted(compareKeys);
    const [claimed, reserved] = await this.transactions.run(
      (tx) => [this.claims.take(tx, sorted, this.config.idempotencyLeaseMs), operation.reserve(tx, sorted)],
      { lockTimeoutMs },
    );
    const claims = new Map(claimed.map((claim) => [identityOf(claim), claim]));
    const reservations = new Set(reserved.map(identityOf));
    return requests.map((request) => {
      const identity = identityOf(request);
      const claim = claims.get(identity);
      return claim ? { claim, reserved: reservations.has(identity) } : null;
    });
  }

  private conflict(code: KeyConflict): RefusedError {
    this.metrics.conflicted(code);
    return new RefusedError(
      code === 'idempotency_key_in_progress' ? { code, retryAfterSeconds: RETRY_AFTER_SECONDS } : { code },
    );
  }
}

/** An operation in progress is taken if its owner's lease has run out, or if the claim is this very request's. */
function isToTake(state: ClaimState, request: OperationRequest<unknown>): boolean {
  if (!sameRequest(state.fingerprint, request)) return false;
  return state.leaseExpired || state.claimId === request.claimId;
}
