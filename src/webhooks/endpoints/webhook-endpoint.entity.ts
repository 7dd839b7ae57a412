import { Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { EventType } from '../../events/event.js';

export const DISABLED_REASONS = ['requested', 'gone', 'failing'] as const;
/** `requested`: the merchant disabled it. `gone`: it answered 410. `failing`: every try has failed for days. */
export type DisabledReason = (typeof DISABLED_REASONS)[number];

/**
 * An endpoint's row, for the schema and for plain reads. Two stores write it: `webhook-endpoints.store.ts` for the
 * merchant who owns it, `webhook-subscriptions.store.ts` to note how its tries went.
 */
@Entity({ name: 'webhook_endpoints' })
@Index('webhook_endpoints_enabled', ['merchantId'], { where: 'enabled' })
@Unique('webhook_endpoints_idempotency_key', ['merchantId', 'idempotencyKey'])
export class WebhookEndpointEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'webhook_endpoints_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'webhook_endpoint_id', primaryKeyConstraintName: 'webhook_endpoints_pkey' })
  webhookEndpointId!: string;

  @Column('text', { name: 'idempotency_key' })
  idempotencyKey!: string;

  @Column('uuid', { name: 'claim_id' })
  claimId!: string;

  @Column('text')
  fingerprint!: string;

  @Column('text')
  url!: string;

  /** Null means all types, including those that we add later. */
  @Column('text', { name: 'event_types', array: true, nullable: true })
  eventTypes!: EventType[] | null;

  @Column('text', { nullable: true })
  description!: string | null;

  @Column('text')
  secret!: string;

  @Column('text', { name: 'previous_secret', nullable: true })
  previousSecret!: string | null;

  @Column('timestamptz', { name: 'previous_secret_expires_at', nullable: true })
  previousSecretExpiresAt!: Date | null;

  /** The claim of the rotation that made the current secret. */
  @Column('uuid', { name: 'rotation_claim_id', nullable: true })
  rotationClaimId!: string | null;

  @Column('boolean', { default: true })
  enabled!: boolean;

  @Column('text', { name: 'disabled_reason', nullable: true })
  disabledReason!: DisabledReason | null;

  /** When the first try after the last success failed; null while tries succeed. */
  @Column('timestamptz', { name: 'failing_since', nullable: true })
  failingSince!: Date | null;

  /** No tries before this time: the endpoint asked for it with `Retry-After`. */
  @Column('timestamptz', { name: 'paused_until', nullable: true })
  pausedUntil!: Date | null;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at' })
  updatedAt!: Date;

  @Column('timestamptz', { name: 'deleted_at', nullable: true })
  deletedAt!: Date | null;
}
