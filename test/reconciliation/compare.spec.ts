import { randomUUID } from 'node:crypto';
import type { EffectKind, GatewayEffect } from '../../src/gateways/gateway-books.js';
import { comparePayment, expectedEffects } from '../../src/reconciliation/compare.js';
import type { BookedPayment, BookedRefund } from '../../src/reconciliation/our-books.store.js';

const TRANSACTION = randomUUID();
const KEY = randomUUID();
const CHARGE = 'ref_charge';

function payment(changes: Partial<BookedPayment> = {}): BookedPayment {
  return {
    merchantId: randomUUID(),
    transactionId: TRANSACTION,
    gatewayKey: KEY,
    status: 'completed',
    captureMethod: 'automatic',
    amount: 1_000n,
    amountCaptured: 1_000n,
    currency: 'EUR',
    gatewayReference: CHARGE,
    hold: null,
    endedByGatewayKey: null,
    createdAt: new Date(),
    updatedAt: new Date(),
    refunds: [],
    claims: new Map(),
    ...changes,
  };
}

const MANUAL = { captureMethod: 'manual' } as const;
const PENDING = { status: 'pending', amountCaptured: 0n, gatewayReference: null } as const;
const AUTHORIZED = { ...MANUAL, status: 'authorized', amountCaptured: 0n } as const;

function refund(changes: Partial<BookedRefund> = {}): BookedRefund {
  return {
    refundId: randomUUID(),
    gatewayKey: randomUUID(),
    status: 'completed',
    amount: 300n,
    currency: 'EUR',
    gatewayReference: 'ref_refund',
    createdAt: new Date(),
    ...changes,
  };
}

function effect(kind: EffectKind, changes: Partial<GatewayEffect> = {}): GatewayEffect {
  const first = kind === 'charge' || kind === 'authorization';
  return {
    kind,
    reference: first ? CHARGE : `ref_${kind}`,
    chargeReference: CHARGE,
    chargeKey: KEY,
    transactionId: null,
    refundId: null,
    gatewayKey: first ? KEY : randomUUID(),
    amountMinor: 1_000n,
    currency: 'EUR',
    at: new Date(),
    ...changes,
  };
}

/** Each finding in a few words: list, kind and reason. */
function compared(ours: BookedPayment | null, theirs: GatewayEffect[]): string[] {
  return comparePayment(ours, theirs).map((finding) => {
    if (finding.list === 'missing_here') return `${finding.list} ${finding.effect.kind} ${finding.reason}`;
    const there = finding.list === 'open' ? ` ${finding.effect === null ? 'not there' : 'there'}` : '';
    return `${finding.list} ${finding.expected.kind}${there}`;
  });
}

describe('what a payment implies at the gateway', () => {
  it.each<[string, BookedPayment, string[]]>([
    ['completed', payment(), ['charge 1000']],
    ['failed', payment({ status: 'failed', amountCaptured: 0n }), []],
    ['failed, manual', payment({ ...AUTHORIZED, status: 'failed' }), []],
    ['pending', payment(PENDING), ['charge 1000 open']],
    ['pending, manual', payment({ ...PENDING, ...MANUAL }), ['authorization 1000 open']],
    ['authorized', payment(AUTHORIZED), ['authorization 1000']],
    ['captured in part', payment({ ...MANUAL, amountCaptured: 700n }), ['authorization 1000', 'capture 700']],
    ['canceled', payment({ ...AUTHORIZED, status: 'canceled' }), ['authorization 1000', 'void 1000']],
    [
      'being captured',
      payment({ ...AUTHORIZED, hold: { gatewayKey: randomUUID(), amount: 600n } }),
      ['authorization 1000', 'capture 600 open'],
    ],
    [
      'refunded, being refunded, and denied a refund',
      payment({ refunds: [refund(), refund({ status: 'pending' }), refund({ status: 'failed' })] }),
      ['charge 1000', 'refund 300', 'refund 300 open'],
    ],
  ])('%s', (_name, ours, expected) => {
    expect(
      expectedEffects(ours).map(
        ({ kind, amountMinor, open }) => `${kind} ${amountMinor}${open === null ? '' : ' open'}`,
      ),
    ).toEqual(expected);
  });

  it('being canceled, according to the operation of the claim that holds it', () => {
    const hold = { gatewayKey: randomUUID(), amount: 1_000n };
    const claim = { merchantId: randomUUID(), idempotencyKey: 'k', operation: 'cancel', leaseExpired: true };
    const claims = new Map([[hold.gatewayKey, { ...claim, createdAt: new Date(0) }]]);
    expect(expectedEffects(payment({ ...AUTHORIZED, hold, claims }))[1]).toMatchObject({
      kind: 'void',
      open: { since: new Date(0), claim: { idempotencyKey: 'k' } },
    });
  });
});

describe('a payment in both books', () => {
  const captured = payment({ ...MANUAL, amountCaptured: 700n });
  const capture = effect('capture', { amountMinor: 700n });
  const given = refund();
  const refunded = payment({ refunds: [given] });
  const money = { reference: 'ref_refund', amountMinor: 300n };
  const back = effect('refund', { gatewayKey: given.gatewayKey, ...money });
  const backById = effect('refund', { refundId: given.refundId, gatewayKey: null, ...money });

  it.each<[string, BookedPayment, GatewayEffect[]]>([
    ['a charge', payment(), [effect('charge')]],
    ['a decline', payment({ status: 'failed', amountCaptured: 0n }), []],
    ['an authorization', payment(AUTHORIZED), [effect('authorization')]],
    ['a capture, whatever its key', captured, [effect('authorization'), capture]],
    [
      'a cancel',
      payment({ ...AUTHORIZED, status: 'canceled' }),
      [effect('authorization'), effect('void', { gatewayKey: null })],
    ],
    ['a refund', refunded, [effect('charge'), back]],
    ['a refund of an earlier version, by our id', refunded, [effect('charge'), backById]],
    ['any order', refunded, [back, effect('charge')]],
  ])('agrees: %s', (_name, ours, theirs) => {
    expect(compared(ours, theirs)).toEqual([]);
  });

  it.each<[string, BookedPayment | null, GatewayEffect[], string[]]>([
    ['of no payment', null, [effect('charge')], ['missing_here charge no_payment']],
    [
      'of a failed payment',
      payment({ status: 'failed', amountCaptured: 0n }),
      [effect('charge')],
      ['missing_here charge not_settled'],
    ],
    [
      'a second charge, under another key',
      payment(),
      [effect('charge', { reference: 'other', gatewayKey: randomUUID() }), effect('charge')],
      ['missing_here charge one_too_many'],
    ],
    [
      'a second capture',
      captured,
      [effect('authorization'), effect('capture', { reference: 'other', amountMinor: 100n }), capture],
      ['missing_here capture one_too_many'],
    ],
    [
      'a capture by somebody else',
      payment(AUTHORIZED),
      [effect('authorization'), capture],
      ['missing_here capture not_settled'],
    ],
    [
      'a refund by somebody else',
      payment(),
      [effect('charge'), effect('refund')],
      ['missing_here refund not_settled'],
    ],
    [
      'a refund that failed here',
      payment({ refunds: [{ ...given, status: 'failed' }] }),
      [effect('charge'), back],
      ['missing_here refund not_settled'],
    ],
    [
      'a refund twice',
      refunded,
      [effect('charge'), { ...back, reference: 'other' }, back],
      ['missing_here refund one_too_many'],
    ],
    [
      'a refund of an earlier version twice',
      refunded,
      [effect('charge'), { ...backById, reference: 'other' }, backById],
      ['missing_here refund one_too_many'],
    ],
    [
      'a refund by hand, beside ours',
      refunded,
      [effect('charge'), effect('refund', { ...money, gatewayKey: null, reference: 'other' }), back],
      ['missing_here refund not_settled'],
    ],
  ])('is missing here: %s', (_name, ours, theirs, expected) => {
    expect(compared(ours, theirs)).toEqual(expected);
  });

  it.each<[string, BookedPayment, GatewayEffect[], string[]]>([
    ['a charge', payment(), [], ['missing_there charge']],
    ['a capture', captured, [effect('authorization')], ['missing_there capture']],
    ['a refund', refunded, [effect('charge')], ['missing_there refund']],
    [
      'a refund of another charge',
      refunded,
      [effect('charge'), { ...back, chargeReference: 'other' }],
      ['missing_there refund', 'missing_here refund not_settled'],
    ],
    [
      'a charge, but not the one that we know',
      payment(),
      [effect('charge', { reference: 'other', chargeReference: 'other' })],
      ['missing_there charge', 'missing_here charge not_settled'],
    ],
    [
      'a capture that was given up there',
      captured,
      [effect('authorization'), effect('void')],
      ['missing_there capture', 'missing_here void not_settled'],
    ],
  ])('is missing there: %s', (_name, ours, theirs, expected) => {
    expect(compared(ours, theirs)).toEqual(expected);
  });

  it.each<[string, BookedPayment, GatewayEffect[], string[]]>([
    ['an amount there', payment(), [effect('charge', { amountMinor: 999n })], ['amount_differs charge']],
    ['a currency', payment(), [effect('charge', { currency: 'USD' })], ['amount_differs charge']],
    ['what was taken', payment({ amountCaptured: 999n }), [effect('charge')], ['amount_differs charge']],
    ['what was asked for', payment({ amount: 1_001n }), [effect('charge')], ['amount_differs charge']],
    ['an odd amount', payment(), [effect('charge', { amountMinor: null })], ['amount_differs charge']],
    [
      'of an open payment, too',
      payment(PENDING),
      [effect('charge', { amountMinor: 999n })],
      ['amount_differs charge'],
    ],
  ])('differs by %s', (_name, ours, theirs, expected) => {
    expect(compared(ours, theirs)).toEqual(expected);
  });

  it.each<[string, BookedPayment, GatewayEffect[], string[]]>([
    ['not yet there', payment(PENDING), [], ['open charge not there']],
    ['there', payment(PENDING), [effect('charge')], ['open charge there']],
    [
      'there, without a key',
      payment(PENDING),
      [effect('charge', { gatewayKey: null })],
      ['open charge there'],
    ],
    [
      'there under another key, which our claim would never find',
      payment(PENDING),
      [effect('charge', { gatewayKey: randomUUID() })],
      ['open charge not there', 'missing_here charge not_settled'],
    ],
  ])('is open: %s', (_name, ours, theirs, expected) => {
    expect(compared(ours, theirs)).toEqual(expected);
  });
});
