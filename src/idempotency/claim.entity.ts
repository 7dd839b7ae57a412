import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** One row per key: who runs the operation, and later what was answered. `claims.store.ts` writes it. */
@Entity({ name: 'idempotency_keys' })
@Index('idempotency_keys_unknown', ['unknownSince'], {
  where: `status = 'in_progress' AND unknown_since IS NOT NULL`,
})
@Index('idempotency_keys_waiting', ['resourceId'], {
  where: `status = 'in_progress' AND recover_after IS NOT NULL`,
})
@Index('idempotency_keys_lease', ['leaseExpiresAt'], { where: `status = 'in_progress'` })
@Index('idempotency_keys_expiry', ['expiresAt'], { where: `status <> 'in_progress'` })
export class ClaimEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'idempotency_keys_pkey' })
  merchantId!: string;

  @PrimaryColumn('text', { name: 'idempotency_key', primaryKeyConstraintName: 'idempotency_keys_pkey' })
  idempotencyKey!: string;

  @Column('uuid', { name: 'claim_id' })
  claimId!: string;

  /** What the gateway is sent. Null in older rows, whose gateway key is the claim id, and if no gateway is called. */
  @Column('uuid', { name: 'gateway_key', nullable: true })
  gatewayKey!: string | null;

  /** True once the gateway said that it has another call under this key: then the call is never absent. */
  @Column('boolean', { name: 'gateway_key_taken', nullable: true })
  gatewayKeyTaken!: boolean | null;

  /** The attempt of the latest take-over by a process that knows gateway keys. A trigger skips those that do not. */
  @Column('integer', { name: 'known_attempt', nullable: true })
  knownAttempt!: number | null;

  @Column('text')
  operation!: string;

  @Column('text')
  fingerprint!: string;

  @Column('uuid', { name: 'resource_id' })
  resourceId!: string;

  @Column('text')
  status!: string;

  @Column('integer')
  attempt!: number;

  @Column('boolean', { default: false })
  resumed!: boolean;

  @Column('timestamptz', { name: 'lease_expires_at' })
  leaseExpiresAt!: Date;

  /** Since when the gateway may have acted without our knowledge. */
  @Column('timestamptz', { name: 'unknown_since', nullable: true })
  unknownSince!: Date | null;

  /** The recovery worker does not try again before this time. A client's retry may, at once. */
  @Column('timestamptz', { name: 'recover_after', nullable: true })
  recoverAfter!: Date | null;

  @Column('smallint', { name: 'response_status', nullable: true })
  responseStatus!: number | null;

  @Column('text', { name: 'response_content_type', nullable: true })
  responseContentType!: string | null;

  @Column('text', { name: 'response_location', nullable: true })
  responseLocation!: string | null;

  @Column('text', { name: 'response_body', nullable: true })
  responseBody!: string | null;

  /** How long the answer is kept. Null means the configured time. */
  @Column('bigint', { name: 'lifetime_ms', nullable: true })
  lifetimeMs!: string | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'clock_timestamp()' })
  createdAt!: Date;

  /** Null for an answer that nothing else remembers. */
  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  /** The try of a transaction that wrote the row last, where a later statement of it looks for the row. */
  @Column('bigint', { name: 'write_token', nullable: true })
  writeToken!: string | null;
}
