import { v7 as uuidv7 } from 'uuid';
import { Gateway } from '../../src/gateways/gateway.js';
import type { Claim } from '../../src/idempotency/claims.store.js';
import { MANUAL, newPayment, post } from '../support/api.js';
import { chargeBody, newKey } from '../support/client.js';
import { TestApp } from '../support/test-app.js';
import {
  claimRequest,
  LONG_LEASE_MS,
  NO_LEASE_MS,
  without,
  withoutItsMark,
  WritePath,
} from '../support/write-path.js';

const PENDING = '1 payment.pending';
const SILENT = chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' });

describe('payment.pending', () => {
  describe('beside other writes', () => {
    let db: WritePath;

    beforeAll(async () => {
      db = await WritePath.open();
    });
    afterAll(() => db.close());

    /** A claim as its first owner knows it. Another owner has taken it over and still works on it. */
    async function lostClaim(): Promise<Claim> {
      const request = claimRequest();
      const lost = await db.reserve(NO_LEASE_MS, request);
      await db.take([claimRequest({ ...request, claimId: uuidv7() })], LONG_LEASE_MS);
      return lost;
    }

    it('is written once, however often the claim is postponed, and later events count on from it', async () => {
      const claim = await db.reserve(LONG_LEASE_MS);
      for (let time = 0; time < 3; time += 1) await db.postpone(claim);
      expect(await db.eventsOf(claim)).toEqual([PENDING]);
      expect(await db.settle(claim)).toBe(true);
      expect(await db.eventsOf(claim)).toEqual([PENDING, '2 payment.completed']);
    });

    it('is not written for a payment that was settled meanwhile', async () => {
      const claim = await db.reserve(LONG_LEASE_MS);
      await db.settle(claim);
      await db.postpone(claim);
      expect(await db.eventsOf(claim)).toEqual(['1 payment.completed']);
    });

    it('is not written by an owner that lost its claim', async () => {
      const claim = await lostClaim();
      await db.postpone(claim);
      expect(await db.eventsOf(claim)).toEqual([]);
    });

    it('control: without its mark, that owner writes it', async () => {
      const claim = await lostClaim();
      await db.postpone(claim, withoutItsMark('payments.count_pending'));
      expect(await db.eventsOf(claim)).toEqual([PENDING]);
    });

    it('control: without the count, a second postponement fails because the event’s number is taken', async () => {
      const claim = await db.reserve(LONG_LEASE_MS);
      await db.postpone(claim);
      const unguarded = without('payments.count_pending', 'AND p.event_sequence = 0');
      await expect(db.postpone(claim, unguarded)).rejects.toMatchObject({
        cause: { constraint: 'events_sequence' },
      });
    });

    it('in a race with the settlement, comes first or not at all', async () => {
      const claims = await Promise.all(Array.from({ length: 30 }, () => db.reserve(LONG_LEASE_MS)));
      await Promise.all(
        claims.map((claim, index) => {
          const both = [() => db.postpone(claim), () => db.settle(claim)];
          return Promise.all((index % 2 ? both : both.toReversed()).map((write) => write()));
        }),
      );
      for (const claim of claims) {
        expect([['1 payment.completed'], [PENDING, '2 payment.completed']]).toContainEqual(
          await db.eventsOf(claim),
        );
      }
    });
  });

  describe('from the service', () => {
    let service: TestApp;
    /** What the gateway answers to an inquiry. Null means its usual answer. */
    let finding: 'unknown' | null = null;

    beforeAll(async () => {
      service = await TestApp.start({ IDEMPOTENCY_LEASE: '10s', GATEWAY_TIMEOUT: '200ms' });
      const gateway = service.app.get(Gateway);
      const inquire = gateway.inquire.bind(gateway);
      gateway.inquire = (...asked) =>
        finding === null ? inquire(...asked) : Promise.resolve({ kind: finding });
    });
    afterAll(() => service.stop());

    async function eventsOf(id: string): Promise<string[]> {
      const { body } = await service.get(`/v1/events?transaction_id=${id}`);
      const { data } = body as { data: { sequence: number; type: string }[] };
      return data.toReversed().map(({ sequence, type }) => `${sequence} ${type}`);
    }

    it('reports a charge whose outcome is unknown, as it was then, once, and no replay reports it again', async () => {
      const key = newKey();
      finding = 'unknown';
      const first = await service.post(SILENT, { key });
      expect(first.status).toBe(202);
      const { transaction_id: id } = first.body as { transaction_id: string };
      for (let time = 0; time < 3; time += 1) expect((await service.post(SILENT, { key })).status).toBe(202);
      expect(await eventsOf(id)).toEqual([PENDING]);
      const { body } = await service.get(`/v1/events?transaction_id=${id}`);
      expect((body as { data: { data: object }[] }).data[0]?.data).toEqual(first.body);

      finding = null;
      expect((await service.post(SILENT, { key })).status).toBe(201);
      for (let time = 0; time < 2; time += 1) await service.post(SILENT, { key });
      expect(await eventsOf(id)).toEqual([PENDING, '2 payment.completed']);
    });

    it('is followed by the failure of a charge that never happened', async () => {
      const key = newKey();
      const body = chargeBody({ payment_method: 'pm_gateway_timeout_before_charge' });
      const first = await service.post(body, { key });
      expect(first.status).toBe(202);
      expect((await service.post(body, { key })).status).toBe(402);
      const { transaction_id: id } = first.body as { transaction_id: string };
      expect(await eventsOf(id)).toEqual([PENDING, '2 payment.failed']);
    });

    it('does not report a capture: its payment is authorized, and stays so', async () => {
      const baseUrl = await service.app.getUrl();
      const id = await newPayment({ baseUrl }, MANUAL);
      const gateway = service.app.get(Gateway);
      const capture = gateway.capture.bind(gateway);
      gateway.capture = () => Promise.resolve({ kind: 'unknown' });
      finding = 'unknown';
      const key = newKey();
      expect((await post({ baseUrl }, `/v1/payments/${id}/capture`, { key })).status).toBe(202);
      gateway.capture = capture;
      finding = null;
      expect(await eventsOf(id)).toEqual(['1 payment.authorized']);
    });

    it('does not report a charge that was refused before any effect', async () => {
      const body = chargeBody({ payment_method: 'pm_gateway_unavailable' });
      expect((await service.post(body)).status).toBe(503);
      const { body: page } = await service.get('/v1/events?type=payment.pending');
      expect((page as { data: unknown[] }).data).toHaveLength(2);
    });
  });
});
