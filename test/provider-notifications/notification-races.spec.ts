import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { newToken, type Transaction } from '../../src/database/pipelined-transactions.js';
import { ProviderNotificationsStore } from '../../src/provider-notifications/provider-notifications.store.js';
import type { Claim } from '../../src/idempotency/claims.store.js';
import { eventually } from '../support/eventually.js';
import {
  asItIs,
  claimRequest,
  LONG_LEASE_MS,
  without,
  withoutItsMark,
  WritePath,
  type Guards,
} from '../support/write-path.js';

const TAKE_TURNS = 'pg_advisory_xact_lock(hashtextextended(i.resource_id::text, 0))';
const SINCE_THE_ATTEMPT = "AND n.received_at >= k.lease_expires_at - $8 * interval '1 millisecond'";

describe('a notification and the claim that it is about', () => {
  let db: WritePath;
  let notifications: ProviderNotificationsStore;

  beforeAll(async () => {
    db = await WritePath.open();
    notifications = new ProviderNotificationsStore(db.transactions);
  });
  afterAll(() => db.close());

  const about = ({ resourceId }: Claim) => ({
    gateway: 'sandbox' as const,
    eventId: `evt_${randomUUID()}`,
    type: 'charge.completed',
    resourceId,
  });

  async function newClaim(): Promise<Claim> {
    const [claim] = await db.take([claimRequest()], LONG_LEASE_MS);
    return claim!;
  }

  /** The three statements that take notifications in. */
  const issueReceive = (tx: Transaction, told: ReturnType<typeof about>) =>
    [
      db.openClaims.lockResources(tx, [told.resourceId]),
      notifications.insert(tx, [told]),
      db.openClaims.hasten(tx, [told]),
    ] as const;

  /** @returns whether it was new, and whether it made a claim due. */
  async function receive(told: ReturnType<typeof about>, guards: Guards = asItIs) {
    const [, fresh, hastened] = await db.transactions.run((tx) => issueReceive(guards(tx), told));
    return { fresh: fresh.size === 1, hastened: hastened.has(told.resourceId) };
  }

  /** Ends a call with an unknown outcome. @returns whether the claim is due at once. */
  async function endUnknown(claim: Claim, guards: Guards = asItIs): Promise<boolean> {
    const [, due] = await db.transactions.run((plain) => {
      const tx = guards(plain);
      return [
        db.openClaims.lockResources(tx, [claim.resourceId]),
        db.openClaims.postpone(tx, claim, 'unknown', LONG_LEASE_MS),
      ];
    });
    return due;
  }

  /** Takes over the claims that are due, as recovery does, and returns this one. */
  async function takeOver({ claimId }: Claim): Promise<Claim> {
    const taken = await db.openClaims.takeExpired(['charge'], LONG_LEASE_MS, 100);
    return taken.find((claim) => claim.claimId === claimId)!;
  }

  it('meet once: a copy makes nothing due', async () => {
    const claim = await newClaim();
    await endUnknown(claim);
    const told = about(claim);
    expect(await receive(told)).toEqual({ fresh: true, hastened: true });
    expect(await receive(told)).toEqual({ fresh: false, hastened: false });
  });

  it('control: without the check that it is new, each copy makes the claim due', async () => {
    const claim = await newClaim();
    await endUnknown(claim);
    const told = about(claim);
    await receive(told);
    expect(await receive(told, withoutItsMark('open_claims.hasten'))).toEqual({
      fresh: false,
      hastened: true,
    });
  });

  it('are rolled back together', async () => {
    const claim = await newClaim();
    await endUnknown(claim);
    const told = about(claim);
    const failing = db.transactions.run((tx) => [
      ...issueReceive(tx, told),
      tx.query({ name: 'fails', text: 'SELECT 1 / 0', values: [] }),
    ]);
    await expect(failing).rejects.toThrow('rolled back');
    expect(await receive(told)).toEqual({ fresh: true, hastened: true });
  });

  it('do not meet while the claim is in progress, and other claims stay as they are', async () => {
    const [running, other] = [await newClaim(), await newClaim()];
    await endUnknown(other);
    const before = await db.query('SELECT k::text FROM idempotency_keys k ORDER BY 1');
    expect(await receive(about(running))).toEqual({ fresh: true, hastened: false });
    expect(await db.query('SELECT k::text FROM idempotency_keys k ORDER BY 1')).toEqual(before);
  });

  it('meet at the end of the call, if the notification came during the call', async () => {
    const claim = await newClaim();
    expect(await receive(about(claim))).toEqual({ fresh: true, hastened: false });
    expect(await endUnknown(claim)).toBe(true);
    const again = await takeOver(claim);
    expect(again.attempt).toBe(2);
    // The notification is older than this attempt, which could already see what it reports.
    expect(await endUnknown(again)).toBe(false);
  });

  it('control: if older notifications counted, a call that stays unknown would always be due', async () => {
    const claim = await newClaim();
    await receive(about(claim));
    await endUnknown(claim);
    const unguarded = without('open_claims.postpone', SINCE_THE_ATTEMPT, 'AND $8::float8 > 0');
    expect(await endUnknown(await takeOver(claim), unguarded)).toBe(true);
  });

  /** The call ends after the notification's transaction has run its statements and before it commits. */
  async function race(guards: Guards): Promise<{ hastened: boolean; due: boolean }> {
    const claim = await newClaim();
    const told = about(claim);
    const client = new Client({ connectionString: db.url });
    await client.connect();
    try {
      await client.query('BEGIN');
      const tx = guards({ token: newToken(), query: (statement) => client.query(statement) });
      const [, , hastened] = await Promise.all(issueReceive(tx, told));
      const ending = endUnknown(claim, guards);
      let ended = false;
      void ending.finally(() => (ended = true));
      await eventually(
        'the end of the call waits, or does not',
        async () => ended || (await isSomebodyWaiting()),
      );
      await client.query('COMMIT');
      return { hastened: hastened.has(claim.resourceId), due: await ending };
    } finally {
      await client.end();
    }
  }

  async function isSomebodyWaiting(): Promise<boolean> {
    const waiting = await db.query(
      `SELECT FROM pg_locks JOIN pg_database d ON d.oid = database AND d.datname = current_database()
       WHERE locktype = 'advisory' AND NOT granted`,
    );
    return waiting.length > 0;
  }

  it('take turns if they come at the same moment, so that neither misses the other', async () => {
    expect(await race(asItIs)).toEqual({ hastened: false, due: true });
  });

  it('control: without turns each misses the other, and the hint is lost', async () => {
    const unguarded = without('open_claims.lock_resources', TAKE_TURNS, '1');
    expect(await race(unguarded)).toEqual({ hastened: false, due: false });
  });

  it('find each other by index, however many there are', async () => {
    const plans: string[] = [];
    const explain: Transaction = {
      token: newToken(),
      query: async ({ text, values }) => {
        const lines = await db.dataSource.query<object[]>(`EXPLAIN ${text}`, values);
        plans.push(lines.flatMap((line) => Object.values(line)).join('\n'));
        return { rows: [] } as never;
      },
    };
    const claim = await newClaim();
    await Promise.all(issueReceive(explain, about(claim)));
    await db.openClaims.postpone(explain, claim, 'unknown', LONG_LEASE_MS);
    const scans = plans.join('\n').match(/(Seq Scan|using \w+|on idempotency_keys_\w+)/g);
    expect(new Set(scans)).toEqual(
      new Set([
        'using gateway_notifications_pkey',
        'using idempotency_keys_waiting',
        'using idempotency_keys_pkey',
        'using gateway_notifications_resource',
      ]),
    );
  });
});
