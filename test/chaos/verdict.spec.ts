import type { Evidence } from '../../chaos/evidence.js';
import { CHECKS, judge } from '../../chaos/verdict.js';
import { answer, entryOf, problem, soundEvidence } from './sound-evidence.js';

/** The evidence that one fault leaves behind, and every check that it breaks. */
const WRONGS: Readonly<Record<string, { wrong: (evidence: Evidence) => void; breaks: string[] }>> = {
  'a charge that happened twice': {
    wrong: ({ effects }) => effects.push({ ...effects[0]!, idempotency_key: 'other', reference: 'g9' }),
    breaks: ['books.effects'],
  },
  'a refund that happened twice under one key': {
    wrong: ({ effects }) => effects.push({ ...effects[1]! }),
    breaks: ['books.effects'],
  },
  'an effect without a payment': {
    wrong: ({ effects }) => effects.push({ ...effects[0]!, charge_key: 'k9', reference: 'g9' }),
    breaks: ['books.effects'],
  },
  'a payment without its effect': {
    wrong: ({ effects }) => effects.shift(),
    breaks: ['books.effects'],
  },
  'an effect of another amount': {
    wrong: ({ effects }) => (effects[3]!.amount = 500),
    breaks: ['books.effects'],
  },
  'a capture under a key that is not its claim’s': {
    wrong: ({ effects }) => (effects[3]!.idempotency_key = 'k1'),
    breaks: ['books.effects'],
  },
  'a declined charge that took money': {
    wrong: ({ effects }) =>
      effects.push({ ...effects[0]!, charge_key: 'k3', idempotency_key: 'k3', reference: 'g9' }),
    breaks: ['books.effects', 'truth.charges'],
  },
  'a payment that is still pending': {
    wrong: (evidence) => (evidence.payments[2]!.status = 'pending'),
    breaks: ['books.open', 'events.settled', 'truth.charges'],
  },
  'a claim that never ends': {
    wrong: ({ keys }) => (keys[8]!.status = 'in_progress'),
    breaks: ['books.open'],
  },
  'two payments under one key': {
    wrong: ({ payments }) => (payments[2]!.idempotency_key = 'charged'),
    breaks: ['books.keys', 'books.asked_for'],
  },
  'a key that made a payment and a refund': {
    wrong: ({ refunds }) => (refunds[0]!.idempotency_key = 'charged'),
    breaks: ['books.keys', 'books.asked_for', 'truth.refunds'],
  },
  'a payment that no client asked for': {
    wrong: ({ journal, payments }) => {
      const at = journal.entries.indexOf(entryOf({ journal } as Evidence, 'declined'));
      journal.entries.splice(at, 1);
      expect(payments[2]?.idempotency_key).toBe('declined');
    },
    breaks: ['books.asked_for'],
  },
  'more refunded than was captured': {
    wrong: ({ payments }) => (payments[0]!.amount_refunded = 1001),
    breaks: ['books.limits'],
  },
  'a refund that its payment does not count': {
    wrong: ({ payments }) => (payments[0]!.amount_refunded = 0),
    breaks: ['books.limits'],
  },
  'a ledger transfer that does not sum to zero': {
    wrong: ({ ledger }) => (ledger[0]!.amount += 1),
    breaks: ['ledger.balanced', 'ledger.amounts'],
  },
  'a capture that was booked twice': {
    wrong: ({ ledger }) =>
      ledger.push(...ledger.slice(0, 2).map((row) => ({ ...row, ledger_transaction_id: 'l9' }))),
    breaks: ['ledger.amounts'],
  },
  'a capture and its reverse, booked in addition': {
    wrong: ({ ledger }) => {
      const [receivable, payable] = ledger as [Evidence['ledger'][0], Evidence['ledger'][0]];
      ledger.push({ ...receivable, amount: 0 }, { ...payable, amount: 0 });
    },
    breaks: ['ledger.amounts'],
  },
  'an entry of no payment': {
    wrong: ({ ledger }) =>
      ledger.push(...ledger.slice(0, 2).map((row) => ({ ...row, transaction_id: 't9' }))),
    breaks: ['ledger.amounts'],
  },
  'a wrong balance from one service': {
    wrong: ({ balances }) => {
      for (const row of balances[1]!.json['data'] as { balance: number }[]) row.balance *= 2;
    },
    breaks: ['ledger.balances'],
  },
  'a missing event': {
    wrong: ({ events }) => events.splice(1, 1),
    breaks: ['events.sequence', 'events.settled'],
  },
  'an event that exists twice': {
    wrong: ({ events, payments }) => {
      events.push({ ...events[0]!, event_id: 'e9', sequence: 3 });
      payments[0]!.event_sequence = 3;
    },
    breaks: ['events.settled'],
  },
  'a gap in a payment’s events': {
    wrong: ({ events }) => (events[3]!.sequence = 3),
    breaks: ['events.sequence'],
  },
  'what verify finds': {
    wrong: ({ verified }) => verified[0]!.broken.push({ sum: 1 }),
    breaks: ['verify'],
  },
  'what reconcile finds': {
    wrong: ({ reconciled }) => reconciled.push({ list: 'missingHere', row: {} }),
    breaks: ['reconcile'],
  },
  'a process that ended by itself': {
    wrong: ({ failures }) => failures.push('service-1 ended by itself: code 1'),
    breaks: ['processes'],
  },
  'an answer that changed its bytes': {
    wrong: (evidence) => {
      const first = entryOf(evidence, 'charged').tries[0]!;
      first.heard = { ...first.heard!, body: `${first.heard!.body} ` };
    },
    breaks: ['answers.same'],
  },
  'an answer that changed its status': {
    wrong: (evidence) => (entryOf(evidence, 'charged').atEnd[1]!.heard!.status = 200),
    breaks: ['answers.same'],
  },
  'an answer that lost its Location': {
    wrong: (evidence) => {
      const last = entryOf(evidence, 'refunded').atEnd[1]!;
      last.heard = { ...last.heard!, location: null };
    },
    breaks: ['answers.same'],
  },
  'a request that was carried out twice, according to its header': {
    wrong: (evidence) => (entryOf(evidence, 'charged').atEnd[1]!.heard!.replayed = 'false'),
    breaks: ['answers.first', 'answers.kept'],
  },
  'a final answer that one service no longer knows': {
    wrong: (evidence) => {
      entryOf(evidence, 'charged').atEnd[0]!.heard = problem(409, {
        code: 'idempotency_key_in_progress',
        retry: 'same_key',
        effect: 'unknown',
      });
    },
    breaks: ['answers.kept'],
  },
  'a service that does not answer at the end': {
    wrong: (evidence) => (entryOf(evidence, 'declined').atEnd[0]!.heard = null),
    breaks: ['answers.kept'],
  },
  'two bodies that were served under one key': {
    wrong: ({ journal, ...rest }) => {
      const { intent, tries } = entryOf({ journal, ...rest }, 'charged');
      const other = journal.open({ ...intent, body: { ...intent.body, description: 'other' } });
      other.tries.push({ service: 1, heard: { ...tries[0]!.heard!, replayed: 'true' } });
      other.atEnd.push(...entryOf({ journal, ...rest }, 'charged').atEnd);
    },
    breaks: ['answers.one_request'],
  },
  'a reversed key that was served later': {
    wrong: (evidence) => {
      const other = { code: 'idempotency_key_reused', retry: 'new_key', effect: 'none' };
      entryOf(evidence, 'prevented').atEnd[1]!.heard = problem(422, other);
    },
    breaks: ['answers.final'],
  },
  'answers about two payments under one key': {
    wrong: (evidence) => {
      const pending = { transaction_id: 't2', amount: 1000, currency: 'EUR', status: 'pending' };
      entryOf(evidence, 'charged').tries.unshift({
        service: 0,
        heard: { ...answer(202, pending), replayed: 'false' },
      });
    },
    breaks: ['answers.one_payment'],
  },
  'a completed charge that failed afterwards': {
    wrong: (evidence) => {
      evidence.payments[1]!.status = 'failed';
      evidence.payments[1]!.closed_by_key = null;
    },
    breaks: ['books.effects', 'events.settled', 'truth.charges', 'truth.ends', 'truth.readings'],
  },
  'an acknowledged charge that is gone': {
    wrong: (evidence) => {
      evidence.payments.splice(0, 1);
      evidence.refunds.splice(0, 1);
      evidence.effects.splice(0, 2);
      evidence.events.splice(0, 2);
      evidence.ledger.splice(0, 4);
      evidence.balances.length = 0;
    },
    breaks: ['truth.charges', 'truth.refunds', 'truth.told'],
  },
  'an acknowledged charge of another amount': {
    wrong: (evidence) => {
      const { tries, atEnd } = entryOf(evidence, 'charged');
      for (const { heard } of [...tries, ...atEnd]) heard!.json['amount'] = 999;
    },
    breaks: ['truth.charges'],
  },
  'a capture that now belongs to another key': {
    wrong: ({ payments }) =>
      Object.assign(payments[1]!, { closed_by_key: 'reversal', closed_by_gateway_key: 'k7' }),
    breaks: ['books.effects', 'books.keys', 'truth.ends'],
  },
  'a refund that was refused and carried out': {
    wrong: (evidence) => {
      const { tries, atEnd } = entryOf(evidence, 'refunded');
      const refused = { code: 'payment_not_refundable', retry: 'none', effect: 'none' };
      for (const each of [...tries, ...atEnd]) {
        each.heard = { ...problem(409, refused), replayed: each.heard!.replayed };
      }
    },
    breaks: ['truth.refunds'],
  },
  'a refund that failed after it was acknowledged': {
    wrong: ({ refunds, effects, events, payments, ledger, balances }) => {
      refunds[0]!.status = 'failed';
      payments[0]!.amount_refunded = 0;
      effects.splice(1, 1);
      events[1]!.type = 'refund.failed';
      ledger.splice(2, 2);
      balances.length = 0;
    },
    breaks: ['truth.refunds'],
  },
  'a reversal that ended in another way': {
    wrong: (evidence) => (evidence.reversals[0]!.outcome = 'refunded'),
    breaks: ['truth.reversals'],
  },
  'a reversed key whose authorization stands': {
    wrong: ({ effects, payments, events }) => {
      effects.pop();
      events.pop();
      Object.assign(payments[3]!, { status: 'authorized', closed_by_key: null, event_sequence: 1 });
    },
    breaks: ['truth.reversed'],
  },
  'a reversed key whose money was not given back': {
    wrong: ({ effects }) => effects.push({ ...effects[0]!, charge_key: 'k4', reference: 'g9', amount: 700 }),
    breaks: ['books.effects', 'truth.reversed'],
  },
  'a late original request that was carried out': {
    wrong: (evidence) => {
      evidence.payments.push({
        ...evidence.payments[2]!,
        transaction_id: 't9',
        idempotency_key: 'prevented',
        claim_id: 'k0',
        amount: 800,
        payment_method: 'pm_card_visa',
      });
      evidence.events.push({ ...evidence.events[4]!, event_id: 'e9', transaction_id: 't9' });
    },
    breaks: ['truth.reversed', 'truth.refused_keys'],
  },
  'a key that was refused as reversed but is not': {
    wrong: (evidence) => {
      evidence.keys.pop();
    },
    breaks: ['truth.refused_keys'],
  },
  'an effect although every try was answered that it had none': {
    wrong: (evidence) => {
      evidence.payments.push({
        ...evidence.payments[2]!,
        transaction_id: 't9',
        idempotency_key: 'lost',
        claim_id: 'k0',
        amount: 10,
        payment_method: 'pm_card_visa',
      });
      evidence.events.push({ ...evidence.events[4]!, event_id: 'e9', transaction_id: 't9' });
    },
    breaks: ['truth.no_effect'],
  },
  'a payment that was read as completed but is not': {
    wrong: ({ journal }) => (journal.readings[0]!.heard.json['status'] = 'canceled'),
    breaks: ['truth.readings'],
  },
  'an acknowledged payment that could not be found': {
    wrong: ({ journal }) => {
      const missing = { code: 'not_found', retry: 'none', effect: 'none' };
      journal.readings[0]!.heard = problem(404, missing);
    },
    breaks: ['truth.readings'],
  },
  'an internal error': {
    wrong: (evidence) => {
      const fault = { code: 'internal_error', retry: 'same_key', effect: 'unknown' };
      entryOf(evidence, 'unheard').tries[0]!.heard = problem(500, fault);
    },
    breaks: ['protocol.no_fault'],
  },
  'an undocumented status': {
    wrong: (evidence) => {
      const refusal = { code: 'rate_limited', retry: 'same_key', effect: 'none' };
      entryOf(evidence, 'unheard').tries[0]!.heard = problem(429, refusal);
    },
    breaks: ['protocol.documented'],
  },
  'a refusal that is not a problem document': {
    wrong: (evidence) => {
      const bare = answer(503, { retry: 'same_key' });
      entryOf(evidence, 'unheard').tries[0]!.heard = bare;
    },
    breaks: ['protocol.documented'],
  },
  'a problem document that promises what its code does not': {
    wrong: (evidence) => {
      const refusal = { code: 'outcome_unknown', retry: 'same_key', effect: 'none' };
      entryOf(evidence, 'unheard').tries[0]!.heard = problem(503, refusal);
    },
    breaks: ['protocol.documented'],
  },
  'a success that does not say whether it is a replay': {
    wrong: (evidence) => {
      const entry = entryOf(evidence, 'charged');
      entry.tries[0]!.heard = { ...entry.tries[0]!.heard!, replayed: null };
    },
    breaks: ['protocol.keyed'],
  },
};

describe('the verdict of the fault run', () => {
  it('finds nothing if everything agrees', () => {
    expect(judge(soundEvidence())).toEqual([]);
  });

  it.each(Object.entries(WRONGS))('names %s', (_what, { wrong, breaks }) => {
    const evidence = soundEvidence();
    wrong(evidence);
    const found = judge(evidence);
    expect([...new Set(found.map(({ name }) => name))]).toEqual(expect.arrayContaining(breaks));
  });

  it('breaks every check at least once', () => {
    const broken = new Set(Object.values(WRONGS).flatMap(({ breaks }) => breaks));
    expect(CHECKS.map(({ name }) => name).filter((name) => !broken.has(name))).toEqual([]);
  });
});
