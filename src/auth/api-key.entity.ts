import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, Unique } from 'typeorm';
import { MerchantEntity } from './merchant.entity.js';
import type { Scope } from './scopes.js';

/** Who may act for a merchant. Only the SHA-256 of a key is kept: it is random, so nothing slower is needed. */
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

  /** Accepted in the sandbox and nowhere else. */
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

  /** The key that a rotation put in this one's place. */
  @Column('uuid', { name: 'replaced_by', nullable: true })
  replacedBy!: string | null;

  @ManyToOne(() => ApiKeyEntity)
  @JoinColumn({ name: 'replaced_by', foreignKeyConstraintName: 'api_keys_replaced_by' })
  successor?: ApiKeyEntity;
}
