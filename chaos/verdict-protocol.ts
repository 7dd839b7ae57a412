import { isProblemCode, problemKind } from '../src/http/problem-table.js';
import type { Check } from './check.js';
import { heardOf, nameOf, type Heard, type OperationName } from './journal.js';

const ROUTES: Readonly<Record<OperationName, string>> = {
  charge: 'POST /v1/payments',
  capture: 'POST /v1/payments/{transaction_id}/capture',
  cancel: 'POST /v1/payments/{transaction_id}/cancel',
  refund: 'POST /v1/payments/{transaction_id}/refunds',
  reversal: 'POST /v1/reversals',
};
/** Given before routing, so by any route: the body came too slowly. */
const BEFORE_ROUTES = [408];

/** Whether the service documents every answer that it gave. */
export const PROTOCOL_CHECKS: readonly Check[] = [
  {
    name: 'protocol.no_fault',
    holds: 'the service never answers 500',
    find: ({ journal }) =>
      journal.entries.flatMap((entry) =>
        heardOf(entry)
          .filter(({ status }) => status === 500)
          .map(({ body }) => ({ ...nameOf(entry), body })),
      ),
  },
  {
    name: 'protocol.documented',
    holds:
      'each answer has a status that its route documents, and each refusal is a problem document that agrees with it',
    find: ({ journal, documented }) => [
      ...journal.entries.flatMap((entry) =>
        heardOf(entry).flatMap((heard) => {
          const statuses = [...(documented[ROUTES[entry.intent.operation]] ?? []), ...BEFORE_ROUTES];
          return complain(heard, statuses).map((problem) => ({ ...nameOf(entry), problem, ...shown(heard) }));
        }),
      ),
      ...journal.readings.flatMap(({ transactionId, heard }) =>
        complain(heard, documented['GET /v1/payments/{transaction_id}'] ?? []).map((problem) => ({
          transactionId,
          problem,
          ...shown(heard),
        })),
      ),
    ],
  },
  {
    name: 'protocol.keyed',
    holds: 'each answer that was given after the key was read says whether it is a replay',
    find: ({ journal }) =>
      journal.entries.flatMap((entry) =>
        heardOf(entry)
          .filter((heard) => !saysWhetherReplayed(heard))
          .map((heard) => ({ ...nameOf(entry), replayed: heard.replayed, ...shown(heard) })),
      ),
  },
];

function shown({ status, contentType, body }: Heard): { status: number; contentType: string; body: string } {
  return { status, contentType, body };
}

function complain(heard: Heard, documented: readonly number[]): string[] {
  const { status, contentType, json } = heard;
  if (!documented.includes(status)) return ['a status that is not documented'];
  if (status < 400) return contentType.startsWith('application/json') ? [] : ['not JSON'];
  if (!contentType.startsWith('application/problem+json')) return ['no problem document'];
  const code = String(json['code']);
  if (!isProblemCode(code)) return ['an unknown code'];
  const kind = problemKind(code);
  const agrees =
    kind.status === status &&
    json['status'] === status &&
    json['retry'] === kind.retry &&
    json['effect'] === kind.effect;
  return agrees ? [] : ['a problem document that disagrees with its code'];
}

/** A refusal given before the key was read cannot say it. A stored answer can: its request had read the key. */
function saysWhetherReplayed({ status, replayed, json }: Heard): boolean {
  if (replayed === 'true' || replayed === 'false') return true;
  return replayed === null && status >= 400 && json['retry'] === 'same_key';
}
