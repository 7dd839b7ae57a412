import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, Unique } from 'typeorm';
import { MerchantEntity } from './merchant.entity.js';
import type { Scope } from './scopes.js';

/** A key that may act for a merchant. We keep only its SHA-256: the key is random, so a slower hash adds nothing. */
@Entity({ name: 'api_keys' })
@Unique('api_keys_hash', ['keyHash'])
@Index('api_keys_of_merchant', ['merchantId', 'apiKeyId'])
export class ApiKeyEntity {
  @PrimaryColumn('uuid', { name: 'api_key_id', primaryKeyConstraintName: 'api_keys_pkey' })
  apiKeyId!: string;

  @Column('uuid', { name: 'merchant_id' })
  merchantId!: string;

  @ManyToOne(() => MerchantEntity)
  @JoinColumn({ name: 'merchant_id', foreignKeyConstraintName: 'api_keys_merchant' })
  merchant?: MerchantEntity;

  @Column('bytea', { name: 'key_hash' })
  keyHash!: Buffer;

  /** The first characters, so that a person can tell keys apart. */
  @Column('text', { name: 'key_prefix' })
  keyPrefix!: string;

  /** The key works in the sandbox only. */
  @Column('boolean', { name: 'sandbox_only', default: false })
  sandboxOnly!: boolean;

  @Column('timestamptz', { name: 'created_at', default: () => 'clock_timestamp()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  @Column('timestamptz', { name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;

  /** What the key may do; never empty. */
  @Column('text', { array: true })
  scopes!: Scope[];

  /** About when it was last used: see `LastUsed`. */
  @Column('timestamptz', { name: 'last_used_at', nullable: true })
  lastUsedAt!: Date | null;

  /** The key that replaced this one in a rotation. */
  @Column('uuid', { name: 'replaced_by', nullable: true })
  replacedBy!: string | null;

  @ManyToOne(() => ApiKeyEntity)
  @JoinColumn({ name: 'replaced_by', foreignKeyConstraintName: 'api_keys_replaced_by' })
  successor?: ApiKeyEntity;
}
