import { sum, type Check } from './check.js';
import type { EffectRow, Evidence, PaymentRow } from './evidence.js';

/** Whether payments, refunds, keys and the gateway's effects agree, and whether our own commands find anything. */
export const BOOK_CHECKS: readonly Check[] = [
  {
    name: 'books.open',
    holds: 'nothing is in progress any more',
    find: ({ keys, payments, refunds, reversals }) => [
      ...keys.filter(({ status }) => status === 'in_progress'),
      ...payments.filter(({ status, held_by }) => status === 'pending' || held_by !== null),
      ...refunds.filter(({ status }) => status === 'pending'),
      ...reversals.filter(({ status }) => status === 'pending'),
    ],
  },
  {
    name: 'books.effects',
    holds:
      'each effect at the gateway belongs to exactly one settled charge, capture, cancel or refund, and each of these has exactly one effect',
    find: unmatchedEffects,
  },
  {
    name: 'books.keys',
    holds: 'each key stands for one payment, one end of an authorization, one refund or one reversal',
    find: ({ payments, refunds, reversals }) => {
      const uses = [
        ...payments.map((row) => ({ key: row.idempotency_key, made: `payment ${row.transaction_id}` })),
        ...payments.flatMap((row) =>
          row.closed_by_key === null
            ? []
            : [{ key: row.closed_by_key, made: `end of payment ${row.transaction_id}` }],
        ),
        ...refunds.map((row) => ({ key: row.idempotency_key, made: `refund ${row.refund_id}` })),
        ...reversals.map((row) => ({ key: row.idempotency_key, made: `reversal ${row.reversal_id}` })),
      ];
      return [...Map.groupBy(uses, ({ key }) => key).values()].filter(({ length }) => length > 1);
    },
  },
  {
    name: 'books.asked_for',
    holds: 'a client asked for each payment and refund, under its key and for that amount',
    find: notAskedFor,
  },
  {
    name: 'books.limits',
    holds: 'no more is refunded than captured, and no more captured than authorized',
    find: ({ payments, refunds }) => {
      const standing = refunds.filter(({ status }) => status !== 'failed');
      const refundsOf = Map.groupBy(standing, (row) => row.transaction_id);
      return payments.filter(
        (row) =>
          row.amount_captured > row.amount ||
          row.amount_refunded > row.amount_captured ||
          row.amount_refunded !== sum(refundsOf.get(row.transaction_id) ?? []),
      );
    },
  },
  {
    name: 'verify',
    holds: '`npm run cli -- verify` finds nothing',
    find: ({ verified }) =>
      verified.flatMap(({ name, broken }) => broken.map((row) => Object.assign({ check: name }, row))),
  },
  {
    name: 'reconcile',
    holds: '`npm run cli -- reconcile` finds nothing, and nothing open',
    find: ({ reconciled }) => reconciled,
  },
  {
    name: 'processes',
    holds: 'no process ends by itself',
    find: ({ failures }) => failures.map((failure) => ({ failure })),
  },
];

type Expected = Omit<EffectRow, 'reference'> & { reference: string | null };

/**
 * The effects that our books imply, as the gateway would list them. We do not keep the reference of a capture or
 * cancel.
 */
function expectedEffects({ payments, refunds, keys }: Evidence): Expected[] {
  // The version before does not keep the gateway key of a capture or cancel, which was the id of its claim.
  const claimOf = new Map(keys.map((row) => [row.idempotency_key, row.claim_id]));
  const paymentOf = new Map(payments.map((row) => [row.transaction_id, row]));
  const taken = payments
    .filter(({ status }) => status !== 'failed' && status !== 'pending')
    .flatMap((row): Expected[] => {
      const first = { ...common(row), idempotency_key: row.claim_id, reference: row.gateway_reference };
      if (row.capture_method === 'automatic') return [{ ...first, kind: 'charge' }];
      const end = {
        ...common(row),
        reference: null,
        idempotency_key: row.closed_by_gateway_key ?? claimOf.get(row.closed_by_key ?? '') ?? 'none',
      };
      const authorization = { ...first, kind: 'authorization' };
      if (row.status === 'authorized') return [authorization];
      if (row.status === 'canceled') return [authorization, { ...end, kind: 'void' }];
      return [authorization, { ...end, kind: 'capture', amount: row.amount_captured }];
    });
  const given = refunds
    .filter(({ status }) => status === 'completed')
    .map((row): Expected => ({
      kind: 'refund',
      reference: row.gateway_reference,
      charge_reference: paymentOf.get(row.transaction_id)?.gateway_reference ?? '',
      charge_key: paymentOf.get(row.transaction_id)?.claim_id ?? 'none',
      idempotency_key: row.claim_id,
      amount: row.amount,
      currency: row.currency,
    }));
  return [...taken, ...given];
}

function common(row: PaymentRow) {
  return {
    charge_reference: row.gateway_reference ?? '',
    charge_key: row.claim_id,
    amount: row.amount,
    currency: row.currency,
  };
}

function unmatchedEffects(evidence: Evidence): object[] {
  const left = new Map<string, EffectRow[]>();
  for (const effect of evidence.effects) {
    const name = signature(effect);
    left.set(name, [...(left.get(name) ?? []), effect]);
  }
  const missing = expectedEffects(evidence).filter((expected) => {
    const found = left.get(signature(expected));
    const index = found?.findIndex(
      ({ reference }) => expected.reference === null || expected.reference === reference,
    );
    if (found === undefined || index === undefined || index < 0) return true;
    found.splice(index, 1);
    return false;
  });
  return [
    ...missing.map((effect) => ({ only: 'in our books', ...effect })),
    ...[...left.values()].flat().map((effect) => ({ only: "in the gateway's books", ...effect })),
  ];
}

function signature(effect: Expected): string {
  const { kind, charge_reference, charge_key, idempotency_key, amount, currency } = effect;
  return JSON.stringify([kind, charge_reference, charge_key, idempotency_key, amount, currency]);
}

function notAskedFor({ payments, refunds, reversals, journal }: Evidence): object[] {
  const asked = Map.groupBy(journal.entries, ({ intent }) => intent.key);
  const reversalsByStep = new Set(reversals.map(({ steps_key, reversal_id }) => steps_key ?? reversal_id));
  return [
    ...payments.filter(
      (row) =>
        !asked
          .get(row.idempotency_key)
          ?.some(
            ({ intent: { operation, body } }) =>
              operation === 'charge' &&
              body['amount'] === row.amount &&
              body['currency'] === row.currency &&
              body['payment_method'] === row.payment_method &&
              (body['capture_method'] ?? 'automatic') === row.capture_method,
          ),
    ),
    ...refunds.filter((row) => {
      const [word, stepsKey] = row.idempotency_key.split(' ');
      if (word === 'reversal') return !reversalsByStep.has(stepsKey ?? '');
      return !asked
        .get(row.idempotency_key)
        ?.some(
          ({ intent: { operation, transactionId, body } }) =>
            operation === 'refund' &&
            transactionId === row.transaction_id &&
            (body['amount'] === undefined || body['amount'] === row.amount),
        );
    }),
  ];
}
