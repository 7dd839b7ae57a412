/** The points of a charge at which `crashing-service.ts` can strike, in the order in which they are reached. */
const STRIKE_POINTS = [
  'before the claim',
  'in the middle of the claim’s transaction',
  'after the claim',
  'in the gateway call, before its effect',
  'in the gateway call, after its effect',
  'after the gateway answered',
  'in the middle of the settle’s transaction',
  'after the settle, before the answer',
] as const;

/** The points of a cancel or a refund under any key: a reversal runs them under its own keys. */
export const UNDO_STRIKE_POINTS = [
  'in the call that undoes, before its effect',
  'in the call that undoes, after its effect',
] as const;
export type StrikePoint = (typeof STRIKE_POINTS)[number] | (typeof UNDO_STRIKE_POINTS)[number];

/** What the service prints just before the strike. */
export const STRIKING = 'now at the strike point';

/** For a service that cannot reach its gateway: each call is refused before it has any effect. */
export const GATEWAY_UNREACHABLE = { STRIKE_GATEWAY: 'unreachable' } as const;

/** For a service that is struck after its relay gave events to NATS and before it recorded that. */
export const STRIKE_RELAY = { STRIKE_RELAY: 'nats' } as const;

/** For a service without recovery: only a client's retry takes over a lost claim, so a test knows who did it. */
export const WITHOUT_RECOVERY_WORKER = { RECOVERY_WORKER: 'off' } as const;
