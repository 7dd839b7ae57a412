/**
 * The real service with one point at which its process is killed, or stopped until the test wakes it. It wraps methods
 * of the app's own providers from outside: the service itself knows nothing of it. The points and some of the
 * environment that it reads are in `strike-points.ts`.
 */
import { writeSync } from 'node:fs';
import { createApp } from '../../src/app.js';
import { loadConfig } from '../../src/config/load-config.js';
import { EventOutboxStore } from '../../src/events/event-outbox.store.js';
import { EventsStore } from '../../src/events/events.store.js';
import { Gateway, type RefundRequest } from '../../src/gateways/gateway.js';
import { createLogger } from '../../src/http/logger.js';
import { PublicUrl } from '../../src/http/public-url.js';
import { ClaimsStore } from '../../src/idempotency/claims.store.js';
import { SettlementWriter } from '../../src/idempotency/settlement.writer.js';
import { ChargeOperation } from '../../src/payments/charge.operation.js';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';
import { STRIKING, type StrikePoint } from './strike-points.js';

const STANDARD_OUTPUT = 1;
/** The kernel may need a moment to stop all our threads. Until then nothing else may run. */
const MOMENT_MS = 200;

/** A `StrikePoint`. */
const strikePoint = process.env['STRIKE_POINT'];
/** SIGKILL or SIGSTOP. */
const strikeSignal = process.env['STRIKE_SIGNAL'] ?? 'SIGKILL';
/** Separated by spaces. A point that can wait strikes once all of these keys have reached it. */
const strikeKeys = (process.env['STRIKE_KEYS'] ?? '').split(' ').filter(Boolean);

const config = loadConfig(process.env);
const app = await createApp(config, config.databaseUrl ?? '', createLogger(config));

/** Strike only once: a test that wakes us wants to see what we do next. */
let struck = false;

function strike(): void {
  if (struck) return;
  struck = true;
  writeSync(STANDARD_OUTPUT, `${STRIKING}\n`);
  process.kill(process.pid, strikeSignal);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, MOMENT_MS);
}

/** For a point inside a transaction, whose statements are issued without a pause: the first of the keys strikes. */
function strikeIf(at: StrikePoint, keys: readonly string[]): void {
  if (at === strikePoint && keys.some((key) => strikeKeys.includes(key))) strike();
}

const arrived = new Set<string>();
const allArrived = Promise.withResolvers<void>();

/** For any other point: the first to arrive waits for the rest. */
async function strikeWhenAllArrive(at: StrikePoint, key: string | undefined): Promise<void> {
  if (at !== strikePoint || key === undefined || !strikeKeys.includes(key)) return;
  arrived.add(key);
  if (arrived.size < strikeKeys.length) return allArrived.promise;
  strike();
  allArrived.resolve();
}

/** The gateway and the events do not know the client's key, only what was made for it. */
const keyOfCall = new Map<string, string>();
const keyOfPayment = new Map<string, string>();

const claims = app.get(ClaimsStore);
const take = claims.take.bind(claims);
claims.take = async (tx, requests, leaseMs) => {
  const keys = requests.map((request) => request.idempotencyKey);
  strikeIf('before the claim', keys);
  const taking = take(tx, requests, leaseMs);
  strikeIf('in the middle of the claim’s transaction', keys);
  const taken = await taking;
  for (const claim of taken) {
    keyOfCall.set(claim.gatewayKey, claim.idempotencyKey);
    keyOfPayment.set(claim.resourceId, claim.idempotencyKey);
  }
  return taken;
};

const operation = app.get(ChargeOperation);
const proceed = operation.proceed.bind(operation);
operation.proceed = async (claim, request, reserved) => {
  const next = await proceed(claim, request, reserved);
  await strikeWhenAllArrive('after the claim', claim.idempotencyKey);
  return next;
};

const gateway = app.get(Gateway);
const charge = gateway.charge.bind(gateway);
gateway.charge = async (request, signal) => {
  const key = keyOfCall.get(request.gatewayKey);
  if (process.env['STRIKE_GATEWAY'] === 'unreachable') return { kind: 'unavailable' };
  await strikeWhenAllArrive('in the gateway call, before its effect', key);
  const outcome = await charge(request, signal);
  await strikeWhenAllArrive('in the gateway call, after its effect', key);
  return outcome;
};

const strikeAt = (at: StrikePoint): void => {
  if (at === strikePoint) strike();
};

for (const undo of ['cancel', 'refund'] as const) {
  const call = gateway[undo].bind(gateway);
  gateway[undo] = async (request: RefundRequest, signal: AbortSignal) => {
    strikeAt('in the call that undoes, before its effect');
    const outcome = await call(request, signal);
    strikeAt('in the call that undoes, after its effect');
    return outcome;
  };
}

const settlements = app.get(SettlementWriter);
const settle = settlements.settle.bind(settlements);
settlements.settle = async (settlement) => {
  const key = settlement.claim.idempotencyKey;
  await strikeWhenAllArrive('after the gateway answered', key);
  const settled = await settle(settlement);
  await strikeWhenAllArrive('after the settle, before the answer', key);
  return settled;
};

const events = app.get(EventsStore);
const append = events.append.bind(events);
events.append = async (tx, newEvents) => {
  const appending = append(tx, newEvents);
  strikeIf(
    'in the middle of the settle’s transaction',
    newEvents.map((event) => keyOfPayment.get(event.transactionId) ?? ''),
  );
  return appending;
};

/** Strikes the relay when the sink has the events but the outbox has not recorded it yet. */
const outbox = app.get(EventOutboxStore);
const forget = outbox.forget.bind(outbox);
outbox.forget = async (sink, leaseId, eventIds) => {
  if (sink === process.env['STRIKE_RELAY']) strike();
  await forget(sink, leaseId, eventIds);
};

if (process.env['RECOVERY_WORKER'] === 'off') app.get(RecoveryWorker).runOnce = () => Promise.resolve(0);

await app.listen({ port: config.port, host: config.host });
process.stdout.write(`Hapax listens: ${app.get(PublicUrl).base}/v1\n`);
