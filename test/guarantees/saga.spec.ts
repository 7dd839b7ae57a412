import { MANUAL, post } from '../support/api.js';
import { newKey } from '../support/client.js';
import { expectVerified } from '../support/evidence.js';
import {
  CoordinatorCrash,
  OrderSaga,
  paymentKey,
  SAGA_STEPS,
  type SagaCrash,
  Stock,
} from '../support/order-saga.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE, type ServiceProcess } from '../support/service-process.js';
import { type StrikePoint, UNDO_STRIKE_POINTS, WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

const APPROVED = 'pm_card_visa';
const SILENT = 'pm_gateway_timeout_after_charge';
const CRASHES = SAGA_STEPS.flatMap((step): SagaCrash[] => [`before ${step}`, `after ${step}`]);
const CRASHES_BEFORE_SHIPPING = CRASHES.slice(0, CRASHES.indexOf('after ship'));

describe('an order as a saga', () => {
  let fleet: ServiceFleet;
  let service: ServiceProcess;
  let stock: Stock;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_LEASE: '1s', GATEWAY_TIMEOUT: '400ms' });
    service = await fleet.start();
  });
  beforeEach(() => {
    stock = new Stock();
  });
  afterEach(() => expectVerified(fleet.evidence));
  afterAll(() => fleet.end());

  it('is delivered and paid for once', async () => {
    const journal = OrderSaga.journal(newKey('order'));
    await new OrderSaga(journal, stock, service, APPROVED).run();
    expect(journal.ended).toBe('delivered');
    await expectDelivered(journal.orderId);
  });

  it('is undone when the card is refused: nothing is reserved, and no money is taken', async () => {
    const journal = OrderSaga.journal(newKey('order'));
    await new OrderSaga(journal, stock, service, 'pm_card_declined').run();
    expect(journal.ended).toBe('undone');
    await expectUndone(journal.orderId);
  });

  it.each(CRASHES)('whose coordinator dies %s has one end: all of it or nothing of it', async (crash) => {
    for (const method of [APPROVED, SILENT]) {
      const journal = OrderSaga.journal(newKey('order'));
      await expect(new OrderSaga(journal, stock, service, method, crash).run()).rejects.toThrow(
        CoordinatorCrash,
      );
      await new OrderSaga(journal, stock, service, method).recover();
      if (CRASHES_BEFORE_SHIPPING.includes(crash)) await expectUndone(journal.orderId);
      else await expectDelivered(journal.orderId);
    }
  });

  it('that was undone while its payment was on its way refuses the payment when it arrives', async () => {
    const journal = OrderSaga.journal(newKey('order'));
    await expect(new OrderSaga(journal, stock, service, APPROVED, 'before authorize').run()).rejects.toThrow(
      CoordinatorCrash,
    );
    await new OrderSaga(journal, stock, service, APPROVED).recover();
    const late = await post(service, '/v1/payments', { key: paymentKey(journal.orderId), body: MANUAL });
    expect(late).toMatchObject({ status: 409, json: { code: 'idempotency_key_reversed' } });
    await expectUndone(journal.orderId);
  });

  it('whose coordinator dies again and again while it undoes the order has one end', async () => {
    const journal = OrderSaga.journal(newKey('order'));
    await expect(new OrderSaga(journal, stock, service, APPROVED, 'after authorize').run()).rejects.toThrow(
      CoordinatorCrash,
    );
    const sagas = [1, 2, 3].map(() => new OrderSaga(journal, stock, service, APPROVED));
    await Promise.all(sagas.map((saga) => saga.recover()));
    await expectUndone(journal.orderId);
  });

  it.each<[StrikePoint, boolean]>([
    ['in the gateway call, after its effect', true],
    ['after the gateway answered', true],
    [UNDO_STRIKE_POINTS[0], false],
    [UNDO_STRIKE_POINTS[1], false],
  ])('with a service that is killed %s has one end, through another service', async (point, forward) => {
    const journal = OrderSaga.journal(newKey('order'));
    const doomed = await fleet.start({
      program: CRASHING_SERVICE,
      env: { STRIKE_POINT: point, STRIKE_KEYS: paymentKey(journal.orderId), ...WITHOUT_RECOVERY_WORKER },
    });
    const earlier = new OrderSaga(
      journal,
      stock,
      doomed,
      APPROVED,
      forward ? 'before reserve stock' : 'before ship',
    );
    await expect(earlier.run()).rejects.toThrow(CoordinatorCrash);
    const saga = new OrderSaga(journal, stock, doomed, APPROVED);
    await expect(forward ? saga.run() : saga.recover()).rejects.toThrow(CoordinatorCrash);
    expect(await doomed.ended()).toBe('SIGKILL');
    await new OrderSaga(journal, stock, service, APPROVED).recover();
    await expectUndone(journal.orderId);
  });

  async function expectDelivered(orderId: string): Promise<void> {
    expect([stock.shipped.has(orderId), stock.reserved.has(orderId)]).toEqual([true, true]);
    const effects = await fleet.evidence.effects(paymentKey(orderId));
    expect(effects.map(({ kind }) => kind)).toEqual(['authorization', 'capture']);
  }

  async function expectUndone(orderId: string): Promise<void> {
    expect([stock.shipped.has(orderId), stock.reserved.has(orderId)]).toEqual([false, false]);
    const effects = await fleet.evidence.effects(paymentKey(orderId));
    expect([[], ['authorization', 'void']]).toContainEqual(effects.map(({ kind }) => kind));
    const open = await fleet.evidence.query(
      `SELECT status FROM payments WHERE idempotency_key = $1 AND status NOT IN ('canceled', 'failed')`,
      [paymentKey(orderId)],
    );
    expect(open).toEqual([]);
  }
});
