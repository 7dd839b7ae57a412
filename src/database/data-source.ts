import { DataSource, type DataSourceOptions } from 'typeorm';
import { ApiKeyEntity } from '../auth/api-key.entity.js';
import { MerchantEntity } from '../auth/merchant.entity.js';
import { EventOutboxEntity } from '../events/event-outbox.entity.js';
import { EventEntity } from '../events/event.entity.js';
import { GatewayNotificationEntity } from '../gateways/gateway-notification.entity.js';
import { ClaimEntity } from '../idempotency/claim.entity.js';
import { DerivedKeyEntity } from '../idempotency/derived-key.entity.js';
import { LedgerClosingEntity } from '../ledger/ledger-closing.entity.js';
import { LedgerEntryEntity } from '../ledger/ledger-entry.entity.js';
import { LedgerSnapshotEntity } from '../ledger/ledger-snapshot.entity.js';
import { PaymentEntity } from '../payments/payment.entity.js';
import { RefundEntity } from '../payments/refund.entity.js';
import { ReversalEntity } from '../payments/reversal.entity.js';
import { WebhookDeliveryEntity } from '../webhooks/delivery/webhook-delivery.entity.js';
import { WebhookEndpointEntity } from '../webhooks/endpoints/webhook-endpoint.entity.js';
import { WebhookTryEntity } from '../webhooks/delivery/webhook-try.entity.js';

const CONNECT_TIMEOUT_MS = 2_000;
const IDLE_CONNECTION_TIMEOUT_MS = 30_000;
/** A statement of ours takes milliseconds; one that takes seconds is stuck, and its client is told so. */
const STATEMENT_TIMEOUT_MS = 5_000;
/** Counts on this side of the wire, for a server that has stopped answering altogether. */
const QUERY_TIMEOUT_MS = 8_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;

/**
 * Every statement of the write path finds its rows by key. A generic plan that was made while the tables were empty
 * would scan them for as long as it is cached, so the planner is kept to indexes and nested loops, which also lock
 * rows in the order of the arrays that we send. Nor is anything compiled, nor shared out among workers: where the
 * planner expects far more rows than there are, either takes 100 ms before a statement of one begins.
 */
const PLANNER = [
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'jit=off',
  'max_parallel_workers_per_gather=0',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');

/** The one data source: entities, and the pool that the pipelined transactions take from, too. */
export function dataSourceOptions(databaseUrl: string, poolSize: number): DataSourceOptions {
  return {
    type: 'postgres',
    url: databaseUrl,
    applicationName: 'hapax',
    entities: [
      MerchantEntity,
      ApiKeyEntity,
      ClaimEntity,
      DerivedKeyEntity,
      PaymentEntity,
      RefundEntity,
      ReversalEntity,
      WebhookEndpointEntity,
      WebhookDeliveryEntity,
      WebhookTryEntity,
      LedgerEntryEntity,
      LedgerSnapshotEntity,
      LedgerClosingEntity,
      EventEntity,
      GatewayNotificationEntity,
      EventOutboxEntity,
    ],
    migrationsTableName: 'migrations',
    synchronize: false,
    logging: false,
    poolSize,
    extra: {
      pipeline: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      idleTimeoutMillis: IDLE_CONNECTION_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
      options: PLANNER,
    },
  };
}

export function createDataSource(databaseUrl: string, poolSize = 3): DataSource {
  return new DataSource(dataSourceOptions(databaseUrl, poolSize));
}
