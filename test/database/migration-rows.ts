const MERCHANT = `'00000000-0000-7000-8000-000000000001'`;
const AUTHORIZED = `'00000000-0000-7000-8000-000000000002'`;
const CAPTURED = `'00000000-0000-7000-8000-000000000003'`;
const CLAIM = `'00000000-0000-7000-8000-000000000004'`;
const EVENT = `'00000000-0000-7000-8000-000000000005'`;
const DELIVERY = `'00000000-0000-7000-8000-000000000006'`;

/**
 * Rows for the tables and columns of each migration, by its name. They touch nothing older, so that going down must leave
 * every older row as it was.
 */
export const ROWS_OF_MIGRATION: Readonly<Record<string, readonly string[]>> = {
  payments: [
    `INSERT INTO merchants (merchant_id, name) VALUES (${MERCHANT}, 'Shop')`,
    `INSERT INTO api_keys (api_key_id, merchant_id, key_hash, key_prefix) VALUES (${CLAIM}, ${MERCHANT}, '\\x01', 'sk')`,
    `INSERT INTO idempotency_keys (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status,
       attempt, lease_expires_at)
     VALUES (${MERCHANT}, 'running', ${CLAIM}, 'payments.create', 'f', ${AUTHORIZED}, 'in_progress', 1, now())`,
    `INSERT INTO idempotency_keys (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status,
       attempt, lease_expires_at, response_status, response_content_type, response_body, expires_at)
     VALUES (${MERCHANT}, 'answered', ${CLAIM}, 'payments.create', 'f', ${CAPTURED}, 'completed', 1, now(), 201,
       'application/json', '{}', now())`,
    `INSERT INTO payments (merchant_id, transaction_id, idempotency_key, claim_id, fingerprint, amount, amount_captured,
       currency, status, payment_method, capture_method, created_at, updated_at)
     VALUES
       (${MERCHANT}, ${AUTHORIZED}, 'running', ${CLAIM}, 'f', 500, 0, 'EUR', 'authorized', 'pm', 'manual', now(), now()),
       (${MERCHANT}, ${CAPTURED}, 'answered', ${CLAIM}, 'f', 700, 700, 'EUR', 'completed', 'pm', 'manual', now(), now())`,
    `INSERT INTO ledger_entries (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount,
       created_at)
     VALUES
       (${MERCHANT}, ${CLAIM}, 0, ${CAPTURED}, 'gateway_receivable', 'EUR', 700, now()),
       (${MERCHANT}, ${CLAIM}, 1, ${CAPTURED}, 'merchant_payable', 'EUR', -700, now())`,
    `INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
     VALUES (${MERCHANT}, ${EVENT}, 'payment.completed', ${CAPTURED}, 1, '{}', now())`,
  ],
  refunds: [
    `UPDATE payments SET held_by = ${CLAIM}, held_amount = 500 WHERE transaction_id = ${AUTHORIZED}`,
    `UPDATE payments SET closed_by_key = 'capture', closed_by_fingerprint = 'f' WHERE transaction_id = ${CAPTURED}`,
    `INSERT INTO refunds (merchant_id, refund_id, transaction_id, idempotency_key, claim_id, fingerprint, amount,
       currency, status, created_at, updated_at)
     VALUES (${MERCHANT}, ${CLAIM}, ${CAPTURED}, 'refund', ${CLAIM}, 'f', 100, 'EUR', 'pending', now(), now())`,
  ],
  'derived-keys': [
    `INSERT INTO derived_keys (merchant_id, fingerprint, first_seen_at) VALUES (${MERCHANT}, 'f', now())`,
    `UPDATE idempotency_keys SET lifetime_ms = 1000`,
  ],
  'api-keys': [
    `UPDATE api_keys SET scopes = '{payments:read}', last_used_at = now(), replaced_by = api_key_id`,
  ],
  'unknown-outcomes': [
    `UPDATE idempotency_keys SET unknown_since = now(), recover_after = now() WHERE status = 'in_progress'`,
  ],
  'gateway-notifications': [
    `INSERT INTO gateway_notifications (gateway, event_id, type, resource_id)
     VALUES ('stripe', 'evt_1', 'charge.succeeded', ${CAPTURED})`,
  ],
  reversals: [
    `INSERT INTO reversals (merchant_id, reversal_id, idempotency_key, claim_id, fingerprint, reversed_key, status,
       outcome, transaction_id, created_at, updated_at)
     VALUES (${MERCHANT}, ${CLAIM}, 'reversal', ${CLAIM}, 'f', 'answered', 'completed', 'refunded', ${CAPTURED}, now(),
       now())`,
  ],
  balances: [
    `INSERT INTO ledger_snapshots (merchant_id, horizon, account, currency, balance, entries, created_at)
     VALUES (${MERCHANT}, 2, 'merchant_payable', 'EUR', -700, 1, now())`,
  ],
  'event-outbox': [
    `INSERT INTO event_outbox (sink, event_id, merchant_id, transaction_id, sequence)
     VALUES ('nats', ${EVENT}, ${MERCHANT}, ${CAPTURED}, 1)`,
  ],
  webhooks: [
    `INSERT INTO webhook_endpoints (merchant_id, webhook_endpoint_id, idempotency_key, claim_id, fingerprint, url, secret,
       created_at, updated_at)
     VALUES (${MERCHANT}, ${CLAIM}, 'endpoint', ${CLAIM}, 'f', 'https://shop.example', 'whsec', now(), now())`,
    `INSERT INTO webhook_deliveries (merchant_id, webhook_delivery_id, webhook_endpoint_id, event_id, event_type, status)
     VALUES (${MERCHANT}, ${DELIVERY}, ${CLAIM}, ${EVENT}, 'payment.completed', 'delivered')`,
    `INSERT INTO webhook_tries (merchant_id, webhook_delivery_id, webhook_try_id, tried_at, duration_ms, response_status)
     VALUES (${MERCHANT}, ${DELIVERY}, ${CLAIM}, now(), 12, 204)`,
  ],
  'gateway-keys': [
    `UPDATE idempotency_keys SET gateway_key = claim_id, known_attempt = 1, gateway_key_taken = true
     WHERE status <> 'in_progress'`,
    `UPDATE payments SET closed_by_gateway_key = ${CLAIM} WHERE transaction_id = ${CAPTURED}`,
    `UPDATE reversals SET steps_key = ${CLAIM}`,
    `INSERT INTO restores VALUES (now(), now() - interval '1 hour', now() + interval '1 day')`,
  ],
};

/** A call that an older version would ask again under another key. */
export const CALL_UNDER_DERIVED_KEY = `
  INSERT INTO idempotency_keys (merchant_id, idempotency_key, claim_id, gateway_key, operation, fingerprint, resource_id,
    status, attempt, lease_expires_at)
  VALUES (${MERCHANT}, 'open-call', ${CLAIM}, ${CLAIM}, 'capture', 'f', ${CAPTURED}, 'in_progress', 1, now())`;

/** A key that a reversal closed before any request arrived under it. */
export const REVERSED_KEY = `
  INSERT INTO idempotency_keys (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status,
    attempt, lease_expires_at)
  VALUES (${MERCHANT}, 'never-sent', ${CLAIM}, 'payments.create', 'f', ${CLAIM}, 'reversed', 1, now())`;
