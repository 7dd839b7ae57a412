import type { Evidence } from '../../chaos/evidence.js';
import { Journal, type Entry, type Heard, type Intent } from '../../chaos/journal.js';

const JSON_TYPE = 'application/json; charset=utf-8';
const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/**
 * Evidence of a run after which everything agrees. Everything that can happen is in it once. Each call returns a new
 * copy.
 */
export function soundEvidence(): Evidence {
  const journal = new Journal();
  say(journal, CHARGED, paymentAnswer(201, 't1', { status: 'completed', amount: 1000 }));
  say(journal, AUTHORIZED, paymentAnswer(201, 't2', { status: 'authorized', amount: 500 }));
  say(
    journal,
    CAPTURED,
    paymentAnswer(200, 't2', { status: 'completed', amount: 500, amount_captured: 300 }),
  );
  say(journal, REFUNDED, {
    ...answer(201, { refund_id: 'r1', transaction_id: 't1', amount: 400, status: 'completed' }),
    location: '/v1/refunds/r1',
  });
  say(
    journal,
    DECLINED,
    problem(402, { code: 'card_declined', retry: 'new_key', effect: 'none', transaction_id: 't3' }),
  );
  say(journal, REVERSED, paymentAnswer(201, 't4', { status: 'authorized', amount: 700 }));
  say(
    journal,
    REVERSAL,
    answer(201, { reversal_id: 'v1', outcome: 'canceled', status: 'completed', transaction_id: 't4' }),
  );
  say(journal, PREVENTION, answer(201, { reversal_id: 'v2', outcome: 'prevented', status: 'completed' }));
  say(journal, PREVENTED, problem(409, { code: 'idempotency_key_reversed', retry: 'none', effect: 'none' }));
  // One intent given up after two tries that certainly did nothing, and one that got no answer at all.
  const lost = journal.open(charge('lost', 10));
  lost.tries.push({
    service: 0,
    heard: problem(503, { code: 'service_unavailable', retry: 'same_key', effect: 'none' }),
  });
  lost.lost = true;
  journal.open(charge('unheard', 20)).tries.push({ service: 1, heard: null });
  journal.readings.push({
    transactionId: 't2',
    heard: paymentAnswer(200, 't2', { status: 'authorized', amount: 500, amount_captured: 0 }),
  });
  return { ...books(), journal };
}

/** The journal's entry for `key`. */
export function entryOf({ journal }: Evidence, key: string): Entry {
  const found = journal.entries.find(({ intent }) => intent.key === key);
  if (found === undefined) throw new Error(`nobody asked for anything under ${key}`);
  return found;
}

export function answer(status: number, json: Record<string, unknown>): Heard {
  return {
    status,
    contentType: JSON_TYPE,
    location: null,
    replayed: 'true',
    body: JSON.stringify(json),
    json,
  };
}

export function problem(status: number, json: Record<string, unknown>): Heard {
  return { ...answer(status, { ...json, status }), contentType: PROBLEM_TYPE };
}

function paymentAnswer(status: number, id: string, json: Record<string, unknown>): Heard {
  const payment = { transaction_id: id, currency: 'EUR', amount_captured: 0, ...json };
  return { ...answer(status, payment), location: status === 201 ? `/v1/payments/${id}` : null };
}

function charge(key: string, amount: number, more: Record<string, unknown> = {}): Intent {
  return {
    key,
    operation: 'charge',
    path: '/v1/payments',
    body: { amount, currency: 'EUR', payment_method: 'pm_card_visa', capture_method: 'automatic', ...more },
  };
}

const MANUAL = { capture_method: 'manual' };
const CHARGED = charge('charged', 1000);
const AUTHORIZED = charge('authorized', 500, MANUAL);
const DECLINED = charge('declined', 600, { payment_method: 'pm_card_declined' });
const REVERSED = charge('reversed', 700, MANUAL);
const PREVENTED = charge('prevented', 800);
const CAPTURED: Intent = {
  key: 'captured',
  operation: 'capture',
  path: '/v1/payments/t2/capture',
  body: { amount: 300 },
  transactionId: 't2',
};
const REFUNDED: Intent = {
  key: 'refunded',
  operation: 'refund',
  path: '/v1/payments/t1/refunds',
  body: { amount: 400 },
  transactionId: 't1',
};
const REVERSAL = reversal('reversal', 'reversed');
const PREVENTION = reversal('prevention', 'prevented');

function reversal(key: string, reversedKey: string): Intent {
  return { key, operation: 'reversal', path: '/v1/reversals', body: { idempotency_key: reversedKey } };
}

/** The first answer is not a replay; at the end both services replay it. */
function say(journal: Journal, intent: Intent, heard: Heard): void {
  const entry = journal.open(intent);
  entry.tries.push({ service: 0, heard: { ...heard, replayed: 'false' } });
  for (const service of [0, 1]) entry.atEnd.push({ service, heard });
}

const DOCUMENTED = [200, 201, 202, 400, 402, 404, 409, 422, 500, 503];

function books(): Omit<Evidence, 'journal'> {
  const payment = {
    capture_method: 'automatic',
    payment_method: 'pm_card_visa',
    amount_captured: 0,
    amount_refunded: 0,
    currency: 'EUR',
    held_by: null,
    closed_by_key: null,
    closed_by_gateway_key: null,
    event_sequence: 1,
  };
  const key = {
    status: 'completed',
    attempt: 1,
    resumed: false,
    was_unknown: false,
    response_status: 201,
    response_body: '',
  };
  return {
    payments: [
      {
        ...payment,
        transaction_id: 't1',
        idempotency_key: 'charged',
        claim_id: 'k1',
        status: 'completed',
        amount: 1000,
        amount_captured: 1000,
        amount_refunded: 400,
        gateway_reference: 'g1',
        event_sequence: 2,
      },
      {
        ...payment,
        transaction_id: 't2',
        idempotency_key: 'authorized',
        claim_id: 'k2',
        status: 'completed',
        amount: 500,
        amount_captured: 300,
        capture_method: 'manual',
        gateway_reference: 'g2',
        closed_by_key: 'captured',
        closed_by_gateway_key: 'k6',
        event_sequence: 2,
      },
      {
        ...payment,
        transaction_id: 't3',
        idempotency_key: 'declined',
        claim_id: 'k3',
        status: 'failed',
        amount: 600,
        payment_method: 'pm_card_declined',
        gateway_reference: null,
      },
      {
        ...payment,
        transaction_id: 't4',
        idempotency_key: 'reversed',
        claim_id: 'k4',
        status: 'canceled',
        amount: 700,
        capture_method: 'manual',
        gateway_reference: 'g4',
        closed_by_key: 'reversal s1 cancel 1',
        closed_by_gateway_key: 'k8',
        event_sequence: 2,
      },
    ],
    refunds: [
      {
        refund_id: 'r1',
        transaction_id: 't1',
        idempotency_key: 'refunded',
        claim_id: 'k5',
        status: 'completed',
        amount: 400,
        currency: 'EUR',
        gateway_reference: 'g5',
      },
    ],
    reversals: [
      {
        reversal_id: 'v1',
        steps_key: 's1',
        idempotency_key: 'reversal',
        reversed_key: 'reversed',
        status: 'completed',
        outcome: 'canceled',
        transaction_id: 't4',
      },
      {
        reversal_id: 'v2',
        steps_key: 's2',
        idempotency_key: 'prevention',
        reversed_key: 'prevented',
        status: 'completed',
        outcome: 'prevented',
        transaction_id: null,
      },
    ],
    keys: [
      { ...key, idempotency_key: 'charged', claim_id: 'k1', operation: 'charge' },
      { ...key, idempotency_key: 'authorized', claim_id: 'k2', operation: 'charge' },
      { ...key, idempotency_key: 'declined', claim_id: 'k3', operation: 'charge', response_status: 402 },
      { ...key, idempotency_key: 'reversed', claim_id: 'k4', operation: 'charge' },
      { ...key, idempotency_key: 'captured', claim_id: 'k6', operation: 'capture', response_status: 200 },
      { ...key, idempotency_key: 'refunded', claim_id: 'k5', operation: 'refund' },
      { ...key, idempotency_key: 'reversal', claim_id: 'k7', operation: 'reversal' },
      { ...key, idempotency_key: 'reversal s1 cancel 1', claim_id: 'k8', operation: 'cancel' },
      { ...key, idempotency_key: 'prevention', claim_id: 'k9', operation: 'reversal' },
      { ...key, idempotency_key: 'prevented', claim_id: 'k0', operation: 'reversal', status: 'reversed' },
    ],
    events: [
      event('e1', 'payment.completed', 't1', 1),
      event('e2', 'refund.completed', 't1', 2, 'r1'),
      event('e3', 'payment.authorized', 't2', 1),
      event('e4', 'payment.completed', 't2', 2),
      event('e5', 'payment.failed', 't3', 1),
      event('e6', 'payment.authorized', 't4', 1),
      event('e7', 'payment.canceled', 't4', 2),
    ],
    ledger: [...booked('l1', 't1', 1000), ...booked('l2', 't1', -400), ...booked('l3', 't2', 300)],
    effects: [
      effect('charge', 'g1', { charge_key: 'k1', idempotency_key: 'k1', amount: 1000 }),
      effect('refund', 'g5', {
        charge_key: 'k1',
        idempotency_key: 'k5',
        amount: 400,
        charge_reference: 'g1',
      }),
      effect('authorization', 'g2', { charge_key: 'k2', idempotency_key: 'k2', amount: 500 }),
      effect('capture', 'g6', {
        charge_key: 'k2',
        idempotency_key: 'k6',
        amount: 300,
        charge_reference: 'g2',
      }),
      effect('authorization', 'g4', { charge_key: 'k4', idempotency_key: 'k4', amount: 700 }),
      effect('void', 'g7', {
        charge_key: 'k4',
        idempotency_key: 'k8',
        amount: 700,
        charge_reference: 'g4',
      }),
    ],
    balances: [balances(), balances()],
    documented: Object.fromEntries(
      [
        'POST /v1/payments',
        'POST /v1/payments/{transaction_id}/capture',
        'POST /v1/payments/{transaction_id}/cancel',
        'POST /v1/payments/{transaction_id}/refunds',
        'POST /v1/reversals',
        'GET /v1/payments/{transaction_id}',
      ].map((route) => [route, DOCUMENTED]),
    ),
    verified: [{ name: 'ledger.balanced', holds: 'it is', broken: [], more: false }],
    reconciled: [],
    failures: [],
  };
}

function event(
  event_id: string,
  type: string,
  transaction_id: string,
  sequence: number,
  refund_id: string | null = null,
): Evidence['events'][number] {
  return { event_id, type, transaction_id, sequence, refund_id };
}

function booked(ledger_transaction_id: string, transaction_id: string, amount: number): Evidence['ledger'] {
  const row = { ledger_transaction_id, transaction_id, currency: 'EUR' };
  return [
    { ...row, account: 'gateway_receivable', amount },
    { ...row, account: 'merchant_payable', amount: -amount },
  ];
}

function effect(
  kind: string,
  reference: string,
  row: Pick<Evidence['effects'][number], 'charge_key' | 'idempotency_key' | 'amount'> &
    Partial<Evidence['effects'][number]>,
): Evidence['effects'][number] {
  return { kind, reference, charge_reference: reference, currency: 'EUR', ...row };
}

function balances(): Heard {
  const data = [
    { account: 'gateway_receivable', currency: 'EUR', balance: 900 },
    { account: 'merchant_payable', currency: 'EUR', balance: -900 },
  ];
  return answer(200, { data });
}
