/** One thing that must hold. The SQL returns the rows that break it. */
export interface Check {
  name: string;
  /** What holds, as a sentence. */
  holds: string;
  sql: string;
}

/**
 * What must hold in every committed state of the database, so that a check on one snapshot raises no false alarm while
 * charges run. Each check is set-based: it reads its tables once, however many rows they have.
 */
export const CHECKS: readonly Check[] = [
  {
    name: 'ledger.balanced',
    holds: 'each transfer sums to zero in each currency',
    sql: `
      SELECT merchant_id, ledger_transaction_id, currency, sum(amount) AS sum
      FROM ledger_entries
      GROUP BY merchant_id, ledger_transaction_id, currency
      HAVING sum(amount) <> 0`,
  },
  {
    name: 'ledger.payments',
    holds: 'what is booked for each payment is what was captured and what was refunded of it',
    sql: `
      WITH booked AS (
        SELECT merchant_id, transaction_id, currency,
          sum(amount) FILTER (WHERE account = 'gateway_receivable' AND amount > 0) AS captured,
          -sum(amount) FILTER (WHERE account = 'gateway_receivable' AND amount < 0) AS refunded,
          sum(amount) FILTER (WHERE account = 'merchant_payable') AS payable
        FROM ledger_entries GROUP BY merchant_id, transaction_id, currency
      ), settled AS (
        SELECT p.merchant_id, p.transaction_id, p.currency, p.amount_captured, coalesce(r.amount, 0) AS refunded
        FROM payments p
        LEFT JOIN (
          SELECT merchant_id, transaction_id, sum(amount) AS amount
          FROM refunds WHERE status = 'completed' GROUP BY merchant_id, transaction_id
        ) r USING (merchant_id, transaction_id)
      )
      SELECT merchant_id, transaction_id, currency, s.amount_captured AS captured, b.captured AS booked_captured,
        s.refunded, b.refunded AS booked_refunded, b.payable AS booked_payable
      FROM settled s FULL JOIN booked b USING (merchant_id, transaction_id, currency)
      WHERE coalesce(b.captured, 0) <> coalesce(s.amount_captured, 0)
        OR coalesce(b.refunded, 0) <> coalesce(s.refunded, 0)
        OR coalesce(b.payable, 0) <> coalesce(b.refunded, 0) - coalesce(b.captured, 0)`,
  },
  {
    name: 'ledger.balances',
    holds: 'each balance, as it is answered, is what was captured less what was refunded in all',
    sql: `
      WITH last AS (
        SELECT merchant_id, max(horizon) AS horizon FROM ledger_snapshots GROUP BY merchant_id
      ), answered AS (
        SELECT merchant_id, currency,
          sum(balance) FILTER (WHERE account = 'gateway_receivable') AS receivable,
          sum(balance) FILTER (WHERE account = 'merchant_payable') AS payable
        FROM (
          SELECT s.merchant_id, s.account, s.currency, s.balance
          FROM ledger_snapshots s JOIN last USING (merchant_id, horizon)
          UNION ALL
          SELECT e.merchant_id, e.account, e.currency, e.amount
          FROM ledger_entries e LEFT JOIN last l USING (merchant_id)
          WHERE e.log_position >= coalesce(l.horizon, 0)
        ) parts
        GROUP BY merchant_id, currency
      ), captured AS (
        SELECT merchant_id, currency, sum(amount_captured) AS amount
        FROM payments GROUP BY merchant_id, currency
      ), refunded AS (
        SELECT merchant_id, currency, sum(amount) AS amount
        FROM refunds WHERE status = 'completed' GROUP BY merchant_id, currency
      )
      SELECT merchant_id, currency, c.amount AS captured, r.amount AS refunded, a.receivable, a.payable
      FROM answered a FULL JOIN captured c USING (merchant_id, currency) FULL JOIN refunded r USING (merchant_id, currency)
      WHERE coalesce(a.receivable, 0) <> coalesce(c.amount, 0) - coalesce(r.amount, 0)
        OR coalesce(a.payable, 0) <> coalesce(r.amount, 0) - coalesce(c.amount, 0)`,
  },
  {
    name: 'ledger.snapshots',
    holds: 'each snapshot is the sum of the entries below its horizon, and the books are closed up to there',
    sql: `
      WITH horizons AS (
        SELECT merchant_id, array_agg(DISTINCT horizon ORDER BY horizon) AS horizons
        FROM ledger_snapshots GROUP BY merchant_id
      ), spans AS (
        SELECT e.merchant_id, e.account, e.currency, width_bucket(e.log_position, h.horizons) AS horizons_passed,
          sum(e.amount) AS amount, count(*) AS entries
        FROM ledger_entries e JOIN horizons h USING (merchant_id)
        GROUP BY e.merchant_id, e.account, e.currency, horizons_passed
      ), summed AS (
        SELECT h.merchant_id, h.horizons[n] AS horizon, b.account, b.currency, sum(b.amount) AS amount,
          sum(b.entries) AS entries
        FROM horizons h CROSS JOIN generate_subscripts(h.horizons, 1) AS n
        JOIN spans b ON b.merchant_id = h.merchant_id AND b.horizons_passed < n
        GROUP BY h.merchant_id, h.horizons[n], b.account, b.currency
      )
      SELECT merchant_id, horizon, account, currency, s.balance, summed.amount AS sum, s.entries,
        summed.entries AS entries_found, c.closed_below
      FROM ledger_snapshots s FULL JOIN summed USING (merchant_id, horizon, account, currency)
      LEFT JOIN ledger_closing c ON true
      WHERE s.balance IS DISTINCT FROM summed.amount OR s.entries IS DISTINCT FROM summed.entries
        OR (horizon <= c.closed_below) IS NOT TRUE`,
  },
  {
    name: 'payments.limits',
    holds: 'never more is refunded than captured, nor more captured than charged',
    sql: `
      SELECT merchant_id, transaction_id, status, amount, amount_captured, amount_refunded
      FROM payments
      WHERE NOT (0 <= amount_refunded AND amount_refunded <= amount_captured AND amount_captured <= amount)
        OR status <> 'completed' AND amount_captured <> 0`,
  },
  {
    name: 'payments.refunds',
    holds: "a payment's refunds, those that are under way included, are its refunded amount, in its currency",
    sql: `
      SELECT merchant_id, transaction_id, p.currency, r.currencies AS refund_currencies, p.amount_refunded,
        r.amount AS refunds
      FROM payments p
      FULL JOIN (
        SELECT merchant_id, transaction_id, array_agg(DISTINCT currency) AS currencies,
          sum(amount) FILTER (WHERE status <> 'failed') AS amount
        FROM refunds GROUP BY merchant_id, transaction_id
      ) r USING (merchant_id, transaction_id)
      WHERE p.transaction_id IS NULL OR p.amount_refunded <> coalesce(r.amount, 0)
        OR r.currencies <> ARRAY[p.currency]`,
  },
  {
    name: 'keys.completed',
    holds:
      'what a completed key was answered is what its payment or refund says, or a refusal that changed nothing',
    sql: `
      SELECT k.merchant_id, k.idempotency_key, k.operation, k.response_status, k.resource_id,
        p.status AS payment_status, r.status AS refund_status
      FROM idempotency_keys k
      LEFT JOIN payments p ON k.operation <> 'refund' AND p.merchant_id = k.merchant_id
        AND p.transaction_id = k.resource_id
      LEFT JOIN refunds r ON k.operation = 'refund' AND r.merchant_id = k.merchant_id AND r.refund_id = k.resource_id
      WHERE k.status = 'completed' AND k.operation IN ('charge', 'capture', 'cancel', 'refund') AND (
        CASE k.operation
          WHEN 'charge' THEN
            k.response_status = 201 AND p.status IN ('authorized', 'completed', 'canceled')
            OR k.response_status BETWEEN 400 AND 499 AND p.status = 'failed'
          WHEN 'capture' THEN
            k.response_status = 200 AND p.status = 'completed' AND p.closed_by_key = k.idempotency_key
            OR k.response_status BETWEEN 400 AND 499 AND p.closed_by_key IS DISTINCT FROM k.idempotency_key
              AND p.status IS NOT NULL
          WHEN 'cancel' THEN
            k.response_status = 200 AND p.status = 'canceled' AND p.closed_by_key = k.idempotency_key
            OR k.response_status BETWEEN 400 AND 499 AND p.closed_by_key IS DISTINCT FROM k.idempotency_key
              AND p.status IS NOT NULL
          WHEN 'refund' THEN
            k.response_status = 201 AND r.status = 'completed'
            OR k.response_status BETWEEN 400 AND 499 AND coalesce(r.status, 'failed') = 'failed'
        END) IS NOT TRUE`,
  },
  {
    name: 'keys.in_progress',
    holds: 'whatever waits for its outcome has a key in progress, which recovery will carry on',
    sql: `
      SELECT 'payment ' || p.status AS waits, p.merchant_id, p.transaction_id AS resource_id, p.idempotency_key
      FROM payments p
      LEFT JOIN idempotency_keys k ON k.merchant_id = p.merchant_id AND k.idempotency_key = p.idempotency_key
        AND k.status = 'in_progress'
      WHERE p.status = 'pending' AND k.claim_id IS NULL
      UNION ALL
      SELECT 'refund ' || r.status, r.merchant_id, r.refund_id, r.idempotency_key
      FROM refunds r
      LEFT JOIN idempotency_keys k ON k.merchant_id = r.merchant_id AND k.idempotency_key = r.idempotency_key
        AND k.status = 'in_progress'
      WHERE r.status = 'pending' AND k.claim_id IS NULL
      UNION ALL
      SELECT 'payment held', p.merchant_id, p.transaction_id, k.idempotency_key
      FROM payments p
      LEFT JOIN idempotency_keys k ON k.merchant_id = p.merchant_id AND p.held_by IN (k.gateway_key, k.claim_id)
        AND k.status = 'in_progress'
      WHERE p.held_by IS NOT NULL AND k.claim_id IS NULL`,
  },
  {
    name: 'events.settled',
    holds: 'each settled operation has its one event, and each such event its settled operation',
    sql: `
      WITH settled AS (
        SELECT merchant_id, transaction_id, 'payment.' || status AS type, NULL::text AS refund_id
        FROM payments WHERE status IN ('completed', 'failed', 'canceled')
        UNION ALL
        SELECT merchant_id, transaction_id, 'payment.authorized', NULL
        FROM payments WHERE capture_method = 'manual' AND status IN ('authorized', 'completed', 'canceled')
        UNION ALL
        SELECT merchant_id, transaction_id, 'refund.' || status, refund_id::text
        FROM refunds WHERE status IN ('completed', 'failed')
      ), told AS (
        SELECT merchant_id, transaction_id, type,
          CASE WHEN type LIKE 'refund.%' THEN coalesce(resource->>'refund_id', 'none') END AS refund_id,
          count(*) AS events
        FROM events
        WHERE type IN ('payment.completed', 'payment.failed', 'payment.canceled', 'payment.authorized',
          'refund.completed', 'refund.failed')
        GROUP BY merchant_id, transaction_id, type, refund_id
      )
      SELECT coalesce(s.merchant_id, t.merchant_id) AS merchant_id,
        coalesce(s.transaction_id, t.transaction_id) AS transaction_id, coalesce(s.type, t.type) AS type,
        coalesce(s.refund_id, t.refund_id) AS refund_id, s.type IS NOT NULL AS settled, coalesce(t.events, 0) AS events
      FROM settled s
      FULL JOIN told t ON t.merchant_id = s.merchant_id AND t.transaction_id = s.transaction_id AND t.type = s.type
        AND coalesce(t.refund_id, '') = coalesce(s.refund_id, '')
      WHERE s.type IS NULL OR t.events IS DISTINCT FROM 1`,
  },
  {
    name: 'events.sequence',
    holds: "a payment's events are numbered from 1 on, without a gap, as its counter says",
    sql: `
      SELECT merchant_id, transaction_id, p.event_sequence, coalesce(e.events, 0) AS events, e.first, e.last
      FROM payments p
      FULL JOIN (
        SELECT merchant_id, transaction_id, count(*) AS events, min(sequence) AS first, max(sequence) AS last
        FROM events GROUP BY merchant_id, transaction_id
      ) e USING (merchant_id, transaction_id)
      WHERE p.event_sequence IS DISTINCT FROM coalesce(e.last, 0)
        OR e.first <> 1 OR e.events <> e.last`,
  },
];
