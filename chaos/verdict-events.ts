import type { Check } from './check.js';
import type { Evidence } from './evidence.js';

/** Whether the events agree with what was settled. */
export const EVENT_CHECKS: readonly Check[] = [
  {
    name: 'events.sequence',
    holds: "each payment's events are numbered from 1 without a gap, and its counter agrees",
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
    holds: 'each settled operation has exactly one event, and each such event a settled operation',
    find: unmatchedEvents,
  },
];

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
