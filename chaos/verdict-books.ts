import type { EffectRow, Evidence, LedgerRow, PaymentRow } from './evidence.js';
import type { Check } from './verdict.js';

/** Payments, refunds, keys, ledger, events and the gateway's effects: whether each says what the others say. */
export const BOOK_CHECKS: readonly Check[] = [
  {
    name: 'books.open',
    claim: 'nothing is under way any more',
    find: ({ keys, payments, refunds, reversals }) => [
      ...keys.filter(({ status }) => status === 'in_progress'),
      ...payments.filter(({ status, held_by }) => status === 'pending' || held_by !== null),
      ...refunds.filter(({ status }) => status === 'pending'),
      ...reversals.filter(({ status }) => status === 'pending'),
    ],
  },
  {
    name: 'books.effects',
    claim:
      "each effect at the gateway is exactly one settled charge's, capture's, cancel's or refund's, and each of these has its one",
    find: unmatchedEffects,
  },
  {
    name: 'books.keys',
    claim: 'each key stands for one payment, one end of an authorization, one refund or one reversal',
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
    claim: 'each payment and refund is one that somebody asked for under its key, for that money',
    find: notAskedFor,
  },
  {
    name: 'books.limits',
    claim: 'never more went back than came in, nor came in than was authorized',
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
    name: 'ledger.balanced',
    claim: 'each ledger transaction sums to zero',
    find: ({ ledger }) =>
      [...Map.groupBy(ledger, (row) => `${row.ledger_transaction_id} ${row.currency}`).values()].filter(
        (entries) => sum(entries) !== 0,
      ),
  },
  {
    name: 'ledger.amounts',
    claim: 'what is booked for each payment is what was captured less what was refunded',
    find: ledgerDifferences,
  },
  {
    name: 'ledger.balances',
    claim: 'both services answer the balances that follow from the payments',
    find: wrongBalances,
  },
  {
    name: 'events.sequence',
    claim: "each payment's events are numbered from 1 on without a gap, as its counter says",
    find: ({ payments, events }) => {
      const told = Map.groupBy(events, (row) => row.transaction_id);
      const ids = new Set([...payments.map((row) => row.transaction_id), ...told.keys()]);
      const counters = new Map(payments.map((row) => [row.transaction_id, row.event_sequence]));
      return [...ids].flatMap((transaction_id) => {
        const sequences = (told.get(transaction_id) ?? [])
          .map(({ sequence }) => sequence)
          .toSorted((a, b) => a - b);
        const whole = sequences.every((sequence, index) => sequence === index + 1);
        const counter = counters.get(transaction_id) ?? 0;
        return whole && sequences.length === counter ? [] : [{ transaction_id, sequences, counter }];
      });
    },
  },
  {
    name: 'events.settled',
    claim: 'each thing that was settled has its one event, and each such event what it tells of',
    find: unmatchedEvents,
  },
  {
    name: 'verify',
    claim: '`npm run cli -- verify` finds nothing',
    find: ({ verified }) =>
      verified.flatMap(({ name, broken }) => broken.map((row) => Object.assign({ check: name }, row))),
  },
  {
    name: 'reconcile',
    claim: '`npm run cli -- reconcile` finds nothing, and nothing open',
    find: ({ reconciled }) => reconciled,
  },
  {
    name: 'processes',
    claim: 'no process ends that nobody has ended',
    find: ({ failures }) => failures.map((failure) => ({ failure })),
  },
];

export function sum(rows: readonly { amount: number }[]): number {
  return rows.reduce((total, { amount }) => total + amount, 0);
}

type Expected = Omit<EffectRow, 'reference'> & { reference: string | null };

/** What our books imply, written as the gateway would list it. A capture's and a cancel's reference we do not keep. */
function expectedEffects({ payments, refunds, keys }: Evidence): Expected[] {
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
        idempotency_key: claimOf.get(row.closed_by_key ?? '') ?? 'none',
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
      transaction_id: row.transaction_id,
      refund_id: row.refund_id,
      idempotency_key: row.claim_id,
      amount: row.amount,
      currency: row.currency,
    }));
  return [...taken, ...given];
}

function common(row: PaymentRow) {
  return {
    charge_reference: row.gateway_reference ?? '',
    transaction_id: row.transaction_id,
    refund_id: null,
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
  const { kind, charge_reference, transaction_id, refund_id, idempotency_key, amount, currency } = effect;
  return JSON.stringify([
    kind,
    charge_reference,
    transaction_id,
    refund_id,
    idempotency_key,
    amount,
    currency,
  ]);
}

function notAskedFor({ payments, refunds, reversals, journal }: Evidence): object[] {
  const asked = Map.groupBy(journal.entries, ({ intent }) => intent.key);
  const reversalIds = new Set(reversals.map(({ reversal_id }) => reversal_id));
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
      const [word, reversalId] = row.idempotency_key.split(' ');
      if (word === 'reversal') return !reversalIds.has(reversalId ?? '');
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

function ledgerDifferences({ payments, refunds, ledger }: Evidence): object[] {
  const booked = Map.groupBy(ledger, (row) => `${row.transaction_id} ${row.currency}`);
  const given = Map.groupBy(
    refunds.filter(({ status }) => status === 'completed'),
    (row) => row.transaction_id,
  );
  const differing = payments.flatMap((row) => {
    const name = `${row.transaction_id} ${row.currency}`;
    const entries = booked.get(name) ?? [];
    booked.delete(name);
    const expected = row.amount_captured - sum(given.get(row.transaction_id) ?? []);
    const receivable = sum(ofAccount(entries, 'gateway_receivable'));
    const payable = sum(ofAccount(entries, 'merchant_payable'));
    // An entry a capture and one a refund, on each side.
    const count = (row.amount_captured > 0 ? 1 : 0) + (given.get(row.transaction_id)?.length ?? 0);
    const right = receivable === expected && payable === -expected && entries.length === 2 * count;
    return right
      ? []
      : [{ transaction_id: row.transaction_id, expected, receivable, payable, entries: entries.length }];
  });
  return [...differing, ...[...booked.values()].flat().map((row) => ({ without_payment: true, ...row }))];
}

function ofAccount(entries: readonly LedgerRow[], account: string): LedgerRow[] {
  return entries.filter((row) => row.account === account);
}

function wrongBalances({ payments, refunds, balances }: Evidence): object[] {
  const expected = new Map<string, number>();
  const add = (currency: string, amount: number): void =>
    void expected.set(currency, (expected.get(currency) ?? 0) + amount);
  for (const row of payments) add(row.currency, row.amount_captured);
  for (const row of refunds) if (row.status === 'completed') add(row.currency, -row.amount);
  return balances.flatMap((heard, service): object[] => {
    if (heard.status !== 200) return [{ service, status: heard.status }];
    const answered = heard.json['data'] as { account: string; currency: string; balance: number }[];
    return [...expected].flatMap(([currency, amount]) => {
      const of = (account: string): number =>
        answered.find((row) => row.account === account && row.currency === currency)?.balance ?? 0;
      const [receivable, payable] = [of('gateway_receivable'), of('merchant_payable')];
      return receivable === amount && payable === -amount
        ? []
        : [{ service, currency, expected: amount, receivable, payable }];
    });
  });
}

function unmatchedEvents({ payments, refunds, events }: Evidence): object[] {
  const settled = [
    ...payments
      .filter(({ status }) => ['completed', 'failed', 'canceled'].includes(status))
      .map((row) => `payment.${row.status} ${row.transaction_id}`),
    ...payments
      .filter(
        ({ status, capture_method }) =>
          capture_method === 'manual' && ['authorized', 'completed', 'canceled'].includes(status),
      )
      .map((row) => `payment.authorized ${row.transaction_id}`),
    ...refunds
      .filter(({ status }) => status !== 'pending')
      .map((row) => `refund.${row.status} ${row.transaction_id} ${row.refund_id}`),
  ];
  const told = events
    .filter(({ type }) => type !== 'payment.pending')
    .map((row) =>
      row.type.startsWith('refund.')
        ? `${row.type} ${row.transaction_id} ${row.refund_id}`
        : `${row.type} ${row.transaction_id}`,
    );
  const left = new Map<string, number>();
  for (const name of told) left.set(name, (left.get(name) ?? 0) + 1);
  const missing = settled.filter((name) => {
    const count = left.get(name) ?? 0;
    left.set(name, count - 1);
    return count === 0;
  });
  return [
    ...missing.map((event) => ({ missing: event })),
    ...[...left].filter(([, count]) => count > 0).map(([event]) => ({ too_many: event })),
  ];
}
