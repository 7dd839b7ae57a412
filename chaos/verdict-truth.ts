import { sum, type Check } from './check.js';
import type { EffectRow, Evidence, PaymentRow, RefundRow } from './evidence.js';
import { acknowledged, heardOf, nameOf, type Entry, type Heard } from './journal.js';

/** Whether the answers that clients got are still true of the payments and the money. */
export const TRUTH_CHECKS: readonly Check[] = [
  {
    name: 'truth.charges',
    holds:
      'a charge that succeeded is still there, with its amount; one that was declined or refused took nothing',
    find: (evidence) => untrue(evidence, 'charge', chargeContradiction),
  },
  {
    name: 'truth.ends',
    holds: 'a capture or cancel that succeeded was done by its key; one that was refused was not',
    find: (evidence) => [
      ...untrue(evidence, 'capture', endContradiction),
      ...untrue(evidence, 'cancel', endContradiction),
    ],
  },
  {
    name: 'truth.refunds',
    holds: 'a refund that succeeded is there, with its amount; one that was refused is not',
    find: (evidence) => untrue(evidence, 'refund', refundContradiction),
  },
  {
    name: 'truth.reversals',
    holds: 'each reversal is what its answer said',
    find: (evidence) => untrue(evidence, 'reversal', reversalContradiction),
  },
  {
    name: 'truth.reversed',
    holds: 'a reversed payment has no net effect, and a prevented one does not exist',
    find: reversedWithEffect,
  },
  {
    name: 'truth.refused_keys',
    holds: 'a key is refused as reversed only if a reversal sealed it, and then it has no payment',
    find: ({ journal, payments, keys }) => {
      const closed = new Set(
        keys.filter(({ status }) => status === 'reversed').map((row) => row.idempotency_key),
      );
      const paid = new Set(payments.map((row) => row.idempotency_key));
      return journal.entries
        .filter((entry) => heardOf(entry).some(({ json }) => json['code'] === 'idempotency_key_reversed'))
        .filter(({ intent: { key } }) => !closed.has(key) || paid.has(key))
        .map(nameOf);
    },
  },
  {
    name: 'truth.no_effect',
    holds: 'if every try was answered with “effect: none”, there was no effect',
    find: givenUpWithEffect,
  },
  {
    name: 'truth.told',
    holds: 'each payment and refund that an answer mentions is there',
    find: ({ journal, payments, refunds }) => {
      const ids = new Set([
        ...payments.map((row) => row.transaction_id),
        ...refunds.map((row) => row.refund_id),
      ]);
      return journal.entries.flatMap((entry) =>
        heardOf(entry).flatMap(({ json }) =>
          [json['transaction_id'], json['refund_id']]
            .filter((id) => typeof id === 'string' && !ids.has(id))
            .map((id) => ({ ...nameOf(entry), id })),
        ),
      );
    },
  },
  {
    name: 'truth.readings',
    holds: 'each payment that a client read could become what it is now',
    find: ({ journal, payments }) => {
      const rows = new Map(payments.map((row) => [row.transaction_id, row]));
      return journal.readings.flatMap(({ transactionId, heard }) => {
        const problem = readingContradiction(heard, rows.get(transactionId));
        return problem === null ? [] : [{ transactionId, problem, status: heard.status, body: heard.body }];
      });
    },
  },
];

/** Our own books at the end, by the ids that clients know. */
interface Ends {
  payments: ReadonlyMap<string, PaymentRow>;
  paymentsByKey: ReadonlyMap<string, PaymentRow>;
  refunds: ReadonlyMap<string, RefundRow>;
  refundsByKey: ReadonlyMap<string, RefundRow>;
  reversals: ReadonlyMap<string, Evidence['reversals'][number]>;
  /** By the key of their charge. */
  effects: ReadonlyMap<string | null, EffectRow[]>;
}

type Contradiction = (entry: Entry, answer: Heard, ends: Ends) => string | null;

function untrue(evidence: Evidence, operation: string, contradiction: Contradiction): object[] {
  const ends = endsOf(evidence);
  return evidence.journal.entries
    .filter(({ intent }) => intent.operation === operation)
    .flatMap((entry) => {
      const answer = acknowledged(entry);
      const problem = answer === null ? null : contradiction(entry, answer, ends);
      return problem === null ? [] : [{ ...nameOf(entry), problem, answer: answer?.body }];
    });
}

function endsOf({ payments, refunds, reversals, effects }: Evidence): Ends {
  return {
    payments: new Map(payments.map((row) => [row.transaction_id, row])),
    paymentsByKey: new Map(payments.map((row) => [row.idempotency_key, row])),
    refunds: new Map(refunds.map((row) => [row.refund_id, row])),
    refundsByKey: new Map(refunds.map((row) => [row.idempotency_key, row])),
    reversals: new Map(reversals.map((row) => [row.idempotency_key, row])),
    effects: Map.groupBy(effects, (row) => row.charge_key),
  };
}

function chargeContradiction({ intent }: Entry, { status, json }: Heard, ends: Ends): string | null {
  const id = String(json['transaction_id']);
  const payment = ends.payments.get(id);
  if (status === 402) {
    if (payment?.status !== 'failed') return `it was declined, and is ${payment?.status ?? 'not there'}`;
    return ends.effects.has(payment.claim_id) ? 'it was declined, and has taken money' : null;
  }
  if (status !== 201) return `nobody is answered ${status} for a charge for good`;
  if (payment === undefined || payment.idempotency_key !== intent.key) return 'the payment is not there';
  if (json['amount'] !== payment.amount || json['amount'] !== intent.body['amount'])
    return 'the amount differs';
  if (json['currency'] !== payment.currency || json['currency'] !== intent.body['currency'])
    return 'the currency differs';
  return becomes(String(json['status']), payment.status) ? null : `it is ${payment.status} now`;
}

/** Whether a payment that was once in the state `before` may now be in the state `now`. */
function becomes(before: string, now: string): boolean {
  if (before === 'authorized') return ['authorized', 'completed', 'canceled'].includes(now);
  return before === 'pending' || before === now;
}

function endContradiction({ intent }: Entry, { status, json }: Heard, ends: Ends): string | null {
  const payment = ends.payments.get(intent.transactionId ?? '');
  if (payment === undefined) return 'the payment is not there';
  const did = payment.closed_by_key === intent.key;
  if (status !== 200) return did ? 'it was refused, and done' : null;
  if (!did) return 'it was done, and then by another key';
  if (intent.operation === 'cancel') {
    return payment.status === 'canceled' ? null : `it was canceled, and is ${payment.status}`;
  }
  const wanted = Number(intent.body['amount'] ?? payment.amount);
  const right =
    payment.status === 'completed' &&
    payment.amount_captured === wanted &&
    payment.amount_captured === json['amount_captured'];
  return right ? null : `it is ${payment.status} with ${payment.amount_captured} captured, of ${wanted}`;
}

function refundContradiction({ intent }: Entry, { status, json }: Heard, ends: Ends): string | null {
  if (status !== 201) {
    const refund = ends.refundsByKey.get(intent.key);
    return refund === undefined || refund.status === 'failed'
      ? null
      : `it was refused, and is ${refund.status}`;
  }
  const refund = ends.refunds.get(String(json['refund_id']));
  if (refund === undefined || refund.idempotency_key !== intent.key) return 'the refund is not there';
  if (refund.status !== 'completed') return `it is ${refund.status} now`;
  const right =
    refund.amount === json['amount'] && refund.amount === (intent.body['amount'] ?? refund.amount);
  return right ? null : 'the amount differs';
}

function reversalContradiction({ intent }: Entry, { status, json }: Heard, ends: Ends): string | null {
  const reversal = ends.reversals.get(intent.key);
  if (reversal === undefined) return 'the reversal is not there';
  if (status !== 201)
    return reversal.status === 'failed' ? null : `it was refused, and is ${reversal.status}`;
  const right =
    reversal.status === 'completed' &&
    reversal.outcome === json['outcome'] &&
    reversal.reversal_id === json['reversal_id'] &&
    reversal.reversed_key === intent.body['idempotency_key'];
  return right ? null : `it is ${reversal.status}: ${reversal.outcome}`;
}

function reversedWithEffect(evidence: Evidence): object[] {
  const { paymentsByKey, effects } = endsOf(evidence);
  return evidence.reversals
    .filter(({ status }) => status === 'completed')
    .flatMap((reversal): object[] => {
      const payment = paymentsByKey.get(reversal.reversed_key);
      if (reversal.outcome === 'prevented') {
        return payment === undefined ? [] : [{ ...reversal, problem: 'there is a payment' }];
      }
      if (payment === undefined) return [{ ...reversal, problem: 'there is no payment' }];
      const left = netEffect(effects.get(payment.claim_id) ?? []);
      return left.taken === 0 && left.held === 0 ? [] : [{ ...reversal, ...left }];
    });
}

/** What a payment's effects leave at the gateway: money taken and not refunded, and authorizations not ended. */
function netEffect(effects: readonly EffectRow[]): { taken: number; held: number } {
  const of = (...kinds: string[]): EffectRow[] => effects.filter(({ kind }) => kinds.includes(kind));
  return {
    taken: sum(of('charge', 'capture')) - sum(of('refund')),
    held: of('authorization').length - of('capture', 'void').length,
  };
}

/**
 * Only counts keys where every try, by every client, was answered "effect: none": a try without an answer may have had
 * an effect that no client could know of.
 */
function givenUpWithEffect({ journal, payments, refunds }: Evidence): object[] {
  const made = new Set([
    ...payments.map((row) => row.idempotency_key),
    ...payments.map((row) => row.closed_by_key),
    ...refunds.map((row) => row.idempotency_key),
  ]);
  return [...Map.groupBy(journal.entries, ({ intent }) => intent.key)]
    .filter(([key, entries]) => made.has(key) && entries.every(saysNone))
    .map(([key, entries]) => ({ key, answers: entries.flatMap(heardOf).map(({ status }) => status) }));
}

function saysNone({ tries, atEnd }: Entry): boolean {
  return [...tries, ...atEnd].every(
    ({ heard }) => heard !== null && heard.json['effect'] === 'none' && heard.json['retry'] === 'same_key',
  );
}

function readingContradiction({ status, json }: Heard, payment: PaymentRow | undefined): string | null {
  if (status === 503) return null;
  if (status !== 200) return 'a payment that somebody was told of could not be read';
  if (payment === undefined) return 'the payment is not there';
  if (json['amount'] !== payment.amount || json['currency'] !== payment.currency) return 'other money';
  if (Number(json['amount_captured']) > payment.amount_captured) return 'more was captured then than now';
  return becomes(String(json['status']), payment.status) ? null : `it is ${payment.status} now`;
}
