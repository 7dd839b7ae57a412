import type { ApiKeyRecord } from '../auth/api-keys.store.js';
import type { IssuedKey } from '../auth/key-management.js';
import { SCOPES } from '../auth/scopes.js';

export function describeIssued(issued: IssuedKey): string[] {
  return [
    `API key   ${issued.apiKey}`,
    `Key id    ${issued.apiKeyId}`,
    `Merchant  ${issued.merchantId}`,
    `Scopes    ${issued.scopes.join(', ')}`,
    `Expires   ${issued.expiresAt?.toISOString() ?? 'never'}`,
  ];
}

export function issuedToWire(issued: IssuedKey) {
  return {
    api_key_id: issued.apiKeyId,
    merchant_id: issued.merchantId,
    api_key: issued.apiKey,
    scopes: issued.scopes,
    expires_at: issued.expiresAt?.toISOString() ?? null,
  };
}

export function keyToWire(key: ApiKeyRecord) {
  return {
    api_key_id: key.apiKeyId,
    merchant_id: key.merchantId,
    prefix: key.keyPrefix,
    status: key.status,
    scopes: key.scopes,
    sandbox_only: key.sandboxOnly,
    created_at: key.createdAt.toISOString(),
    expires_at: key.expiresAt?.toISOString() ?? null,
    revoked_at: key.revokedAt?.toISOString() ?? null,
    last_used_at: key.lastUsedAt?.toISOString() ?? null,
    replaced_by: key.replacedBy,
  };
}

export function keyToRow(key: ApiKeyRecord) {
  return {
    api_key_id: key.apiKeyId,
    merchant_id: key.merchantId,
    prefix: `${key.keyPrefix}…`,
    status: key.status,
    scopes: key.scopes.length === SCOPES.length ? 'all' : key.scopes.join(','),
    expires: key.expiresAt?.toISOString() ?? 'never',
    last_used: key.lastUsedAt?.toISOString() ?? 'never',
  };
}
