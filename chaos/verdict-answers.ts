import type { Check } from './check.js';
import { heardOf, isFinal, isStored, nameOf, type Entry, type Heard } from './journal.js';

/** Compares the answers under each key with each other. */
export const ANSWER_CHECKS: readonly Check[] = [
  {
    name: 'answers.same',
    holds: 'every retry under a key gets the first answer: status, bytes, type and location',
    find: ({ journal }) =>
      groups(journal.entries, (entries) => {
        const answers = entries.flatMap(heardOf).filter(isStored);
        const different = Map.groupBy(answers, ({ status, contentType, location, body }) =>
          JSON.stringify([status, contentType, location, body]),
        );
        return different.size > 1 ? [{ answers: [...different.keys()] }] : [];
      }),
  },
  {
    name: 'answers.first',
    holds: 'at most one answer under a key is the first, and all others say that they are replays',
    find: ({ journal }) =>
      groups(journal.entries, (entries) => {
        const firsts = entries
          .flatMap(heardOf)
          .filter((heard) => isStored(heard) && heard.replayed !== 'true');
        return firsts.length > 1 ? [{ firsts: firsts.length, status: firsts[0]?.status }] : [];
      }),
  },
  {
    name: 'answers.one_request',
    holds: 'a key serves one request, and refuses every other body with 422',
    find: ({ journal }) =>
      groups(journal.entries, (entries) => {
        const served = entries.filter((entry) => heardOf(entry).some(isStored));
        const requests = new Set(served.map(requestOf));
        return requests.size > 1 ? [{ requests: [...requests] }] : [];
      }),
  },
  {
    name: 'answers.kept',
    holds: 'asked once more at the end, both services replay each final answer',
    find: ({ journal }) => journal.entries.flatMap(notKept),
  },
  {
    name: 'answers.final',
    holds: 'what was refused because its key was reversed stays refused',
    find: ({ journal }) =>
      journal.entries.flatMap((entry) => {
        const answers = heardOf(entry);
        // A 422 may change: the request that held the key may release it, and then any other may use it. Another check
        // makes sure that two are never served.
        const refusal = answers.find(({ json }) => json['code'] === 'idempotency_key_reversed');
        if (refusal === undefined) return [];
        const later = answers.slice(answers.indexOf(refusal) + 1).filter(isFinal);
        return later
          .filter(({ json }) => json['code'] !== refusal.json['code'])
          .map((heard) => ({ ...nameOf(entry), first: refusal.json['code'], later: heard.body }));
      }),
  },
  {
    name: 'answers.one_payment',
    holds:
      'all answers under a key are about one payment, refund or reversal, and no other key has answers about it',
    find: ({ journal }) => [...severalUnderAKey(journal.entries), ...severalKeysOf(journal.entries)],
  },
];

/** Calls `find` with the entries of each key. */
function groups(entries: readonly Entry[], find: (entries: Entry[]) => object[]): object[] {
  return [...Map.groupBy(entries, ({ intent }) => intent.key)].flatMap(([key, ofKey]) =>
    find(ofKey).map((row) => ({ key, ...row })),
  );
}

function requestOf({ intent: { path, body } }: Entry): string {
  return `${path} ${JSON.stringify(body)}`;
}

/** An entry without a stored answer was tried again at the end only if its key has one by now. */
function notKept(entry: Entry): object[] {
  const stored = heardOf(entry).some(isStored);
  if (!stored && entry.atEnd.length === 0) return [];
  return [0, 1].flatMap((service): object[] => {
    const heard = entry.atEnd.find((each) => each.service === service)?.heard ?? null;
    if (heard === null) return [{ ...nameOf(entry), service, heard: 'nothing' }];
    if (stored && (!isStored(heard) || heard.replayed !== 'true')) {
      return [
        { ...nameOf(entry), service, status: heard.status, replayed: heard.replayed, body: heard.body },
      ];
    }
    return isFinal(heard) ? [] : [{ ...nameOf(entry), service, status: heard.status, body: heard.body }];
  });
}

/** The payment, refund or reversal that an answer is about. */
function resourceOf(entry: Entry, { json }: Heard): string | null {
  const field = { charge: 'transaction_id', refund: 'refund_id', reversal: 'reversal_id' } as const;
  const { operation } = entry.intent;
  if (operation === 'capture' || operation === 'cancel') return null;
  const id = json[field[operation]];
  return typeof id === 'string' ? `${operation} ${id}` : null;
}

function resourcesOf(entries: readonly Entry[]): { key: string; resource: string }[] {
  return entries.flatMap((entry) =>
    heardOf(entry).flatMap((heard) => {
      const resource = resourceOf(entry, heard);
      return resource === null ? [] : [{ key: entry.intent.key, resource }];
    }),
  );
}

function severalUnderAKey(entries: readonly Entry[]): object[] {
  return [...Map.groupBy(resourcesOf(entries), ({ key }) => key)].flatMap(([key, told]) => {
    const resources = new Set(told.map(({ resource }) => resource));
    return resources.size > 1 ? [{ key, resources: [...resources] }] : [];
  });
}

function severalKeysOf(entries: readonly Entry[]): object[] {
  return [...Map.groupBy(resourcesOf(entries), ({ resource }) => resource)].flatMap(([resource, told]) => {
    const keys = new Set(told.map(({ key }) => key));
    return keys.size > 1 ? [{ resource, keys: [...keys] }] : [];
  });
}
