/** The points of a charge at which `crashing-service.ts` can be struck, in the order in which they are reached. */
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

/** The points of a cancel or a refund, whatever its key: a reversal runs them under keys of its own. */
export const UNDO_STRIKE_POINTS = [
  'in the call that undoes, before its effect',
  'in the call that undoes, after its effect',
] as const;
export type StrikePoint = (typeof STRIKE_POINTS)[number] | (typeof UNDO_STRIKE_POINTS)[number];

/** What the service prints when it is about to be struck. */
export const STRIKING = 'now at the strike point';

/** For a service that cannot reach its gateway: each of its calls is refused before it has any effect. */
export const GATEWAY_UNREACHABLE = { STRIKE_GATEWAY: 'unreachable' } as const;

/** For a service that is struck when its relay has handed events on to NATS and not noted it yet. */
export const STRIKE_RELAY = { STRIKE_RELAY: 'nats' } as const;

/** For a service that leaves lost claims to the client's retry, so that a test knows who took one over. */
export const WITHOUT_RECOVERY_WORKER = { RECOVERY_WORKER: 'off' } as const;
