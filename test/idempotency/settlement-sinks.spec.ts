import type { Transaction } from '../../src/database/pipelined-transactions.js';
import type { Claim } from '../../src/idempotency/claims.store.js';
import {
  settlementSubject,
  SinkAddress,
  type ClaimedChange,
  type Settlement,
  type SettlementSink,
} from '../../src/idempotency/settlement.js';
import { SettlementSinks } from '../../src/idempotency/settlement-sinks.js';
import { PAYMENTS, type PaymentChange } from '../../src/payments/payments.store.js';

const TX = {} as Transaction;
const claim = { claimId: 'claim' } as Claim;

/** Remembers what it was asked to write. */
class Recorder implements SettlementSink<string> {
  readonly batches: string[][] = [];
  committed: () => void = () => undefined;

  constructor(
    readonly address: SinkAddress<string>,
    private readonly order: string[] = [],
  ) {}

  write(_tx: Transaction, changes: readonly ClaimedChange<string>[]): Promise<void> {
    this.order.push(this.address.name);
    this.batches.push(changes.map(({ change }) => change));
    return Promise.resolve();
  }
}

describe('settlement sinks', () => {
  const first = new SinkAddress<string>('first');
  const second = new SinkAddress<string>('second');

  it('write one batch each, in the order of their registration, whatever the order of the writes', () => {
    const order: string[] = [];
    const recorders = [new Recorder(first, order), new Recorder(second, order)];
    const sinks = new SettlementSinks();
    sinks.register(recorders);
    void sinks.write(TX, [
      { claim, writes: [second.put('b1'), first.put('a1')] },
      { claim, writes: [first.put('a2')] },
    ]);
    expect(order).toEqual(['first', 'second']);
    expect(recorders.map(({ batches }) => batches)).toEqual([[['a1', 'a2']], [['b1']]]);
  });

  it('issue nothing of a settlement that has a write without a sink', () => {
    const recorder = new Recorder(first);
    const sinks = new SettlementSinks();
    sinks.register([recorder]);
    const writes = [first.put('a'), second.put('b')];
    expect(() => sinks.write(TX, [{ claim, writes }])).toThrow('no sink is registered for second');
    expect(recorder.batches).toEqual([]);
  });

  it('have one sink for each address', () => {
    const sinks = new SettlementSinks();
    expect(() => sinks.register([new Recorder(first), new Recorder(first)])).toThrow(
      'two sinks are registered for first',
    );
  });

  it('do not make a committed settlement look failed', () => {
    const recorder = new Recorder(first);
    recorder.committed = () => {
      throw new Error('after the commit');
    };
    const sinks = new SettlementSinks();
    sinks.register([recorder]);
    expect(() => sinks.committed([{ writes: [first.put('a')] }])).not.toThrow();
  });
});

describe("a settlement's subject", () => {
  const settlement = (writes: Settlement['writes']): Settlement => ({
    claim,
    answer: { status: 200, contentType: '', location: null, body: '' },
    replayed: false,
    writes,
  });

  it('is the payment that it changes, so that two refunds of one payment never share a statement', () => {
    const change = PAYMENTS.put({ transactionId: 'payment' } as PaymentChange);
    expect(settlementSubject(settlement([new SinkAddress<string>('other').put('x'), change]))).toBe(
      'payment',
    );
  });

  it('is the claim where no write names one', () => {
    expect(settlementSubject(settlement([]))).toBe('claim');
  });
});
