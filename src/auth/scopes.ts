/** What an API key may be allowed to do. */
export const SCOPES = ['payments:read', 'payments:write', 'refunds:write', 'webhooks:manage'] as const;
export type Scope = (typeof SCOPES)[number];

export function isScope(value: string): value is Scope {
  return SCOPES.some((scope) => scope === value);
}
