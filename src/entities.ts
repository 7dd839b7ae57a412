import { ApiKeyEntity } from './auth/api-key.entity.js';
import { MerchantEntity } from './auth/merchant.entity.js';
import { EventOutboxEntity } from './events/event-outbox.entity.js';
import { EventEntity } from './events/event.entity.js';
import { ProviderNotificationEntity } from './provider-notifications/provider-notification.entity.js';
import { ClaimEntity } from './idempotency/claim.entity.js';
import { DerivedKeyEntity } from './idempotency/derived-key.entity.js';
import { RestoreEntity } from './idempotency/restore.entity.js';
import { LedgerClosingEntity } from './ledger/ledger-closing.entity.js';
import { LedgerEntryEntity } from './ledger/ledger-entry.entity.js';
import { LedgerSnapshotEntity } from './ledger/ledger-snapshot.entity.js';
import { PaymentEntity } from './payments/payment.entity.js';
import { RefundEntity } from './payments/refund.entity.js';
import { ReversalEntity } from './payments/reversal.entity.js';
import { WebhookDeliveryEntity } from './webhooks/delivery/webhook-delivery.entity.js';
import { WebhookTryEntity } from './webhooks/delivery/webhook-try.entity.js';
import { WebhookEndpointEntity } from './webhooks/endpoints/webhook-endpoint.entity.js';

/** Every table. In a file of its own, because the command line needs the tables without the service around them. */
export const ENTITIES = [
  MerchantEntity,
  ApiKeyEntity,
  ClaimEntity,
  DerivedKeyEntity,
  RestoreEntity,
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
  ProviderNotificationEntity,
  EventOutboxEntity,
];
