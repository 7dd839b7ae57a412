import { TwoMerchants, UNKNOWN, type Merchant } from './two-merchants.js';

describe('a merchant that lists', () => {
  let merchants: TwoMerchants;

  beforeAll(async () => {
    merchants = await TwoMerchants.open();
  });
  afterAll(() => merchants.close());

  it('payments, refunds or endpoints gets only its own, with any filter and any cursor', async () => {
    const { ours, theirs } = merchants;
    const theirFirstPage = await theirs.get('/v1/payments?limit=1');
    for (const query of [
      '',
      '?limit=100',
      '?status=completed',
      '?status=authorized',
      '?currency=EUR',
      `?cursor=${encodeURIComponent(String(theirFirstPage.next_cursor))}`,
    ]) {
      const { data } = await ours.get(`/v1/payments${query}`);
      expect(data.every((payment: { merchant_id: string }) => payment.merchant_id === ours.merchantId)).toBe(
        true,
      );
    }
    const refunds = await ours.get(`/v1/payments/${ours.completed}/refunds`);
    expect(refunds.data.map((refund: { refund_id: string }) => refund.refund_id)).toEqual([ours.refundId]);
    const endpoints = await ours.get('/v1/webhook-endpoints?limit=100');
    expect(
      endpoints.data.map((endpoint: { webhook_endpoint_id: string }) => endpoint.webhook_endpoint_id),
    ).toEqual([ours.webhookEndpointId]);
  });

  it('balances or ledger entries gets only its own, with any filter and any cursor', async () => {
    const { ours, theirs } = merchants;
    const entries = (merchant: Merchant, query = '') => merchant.get(`/v1/ledger/entries${query}`);
    const booked = ({ merchantId }: Merchant) =>
      merchants.app.evidence.query<{ account: string; currency: string; sum: string }>(
        `SELECT account, currency, sum(amount) FROM ledger_entries WHERE merchant_id = $1 GROUP BY 1, 2 ORDER BY 2, 1`,
        [merchantId],
      );
    for (const merchant of [ours, theirs]) {
      expect((await merchant.get('/v1/balances')).data).toEqual(
        (await booked(merchant)).map(({ sum, ...account }) => ({ ...account, balance: Number(sum) })),
      );
    }
    const { next_cursor } = await entries(theirs, '?limit=1');
    const ownIds = (await entries(ours, '?limit=100')).data.map(
      (entry: { ledger_entry_id: string }) => entry.ledger_entry_id,
    );
    expect(ownIds.length).toBeGreaterThan(0);
    for (const query of [`?cursor=${next_cursor}`, '?currency=EUR', '?account=merchant_payable']) {
      for (const { ledger_entry_id } of (await entries(ours, query)).data) {
        expect(ownIds).toContain(ledger_entry_id);
      }
    }
    for (const id of [theirs.completed, UNKNOWN]) {
      expect(await entries(ours, `?transaction_id=${id}`)).toEqual({ data: [], next_cursor: null });
    }
  });

  it('events gets only its own, and none for a payment of another merchant', async () => {
    const { ours, theirs } = merchants;
    const theirFirstPage = await theirs.get('/v1/events?limit=1');
    for (const query of ['', '?type=refund.completed', `?cursor=${theirFirstPage.next_cursor}`]) {
      const { data } = await ours.get(`/v1/events${query}`);
      const ids: string[] = data.map((event: { transaction_id: string }) => event.transaction_id);
      const owners = await merchants.app.evidence.query(
        'SELECT DISTINCT merchant_id FROM payments WHERE transaction_id = ANY ($1)',
        [ids],
      );
      expect(owners).toEqual([{ merchant_id: ours.merchantId }]);
    }
    const none = await ours.get(`/v1/events?transaction_id=${theirs.completed}`);
    expect(none).toEqual({ data: [], next_cursor: null });
  });

  it('currencies gets the same as every other', async () => {
    const { ours, theirs } = merchants;
    const [our, their] = await Promise.all([
      ours.send('GET', '/v1/currencies'),
      theirs.send('GET', '/v1/currencies'),
    ]);
    expect(our.json().data).toContainEqual({ code: 'JPY', exponent: 0, name: 'Japanese Yen' });
    expect(their.body).toBe(our.body);
  });
});
