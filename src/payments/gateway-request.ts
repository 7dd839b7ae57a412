import type { CallUnderKey, SentIds } from '../gateways/gateway.js';
import { isUuidv8 } from '../ids/uuidv8.js';

/**
 * What a call carries beside its money. A derived key is a UUIDv8, and all that is sent under it can be derived as well.
 * Earlier versions used the id of a claim, a UUIDv7, and sent our ids with it. Such a call goes on as it began: with
 * other parameters the provider would refuse its key.
 * @param sentSince the call was not sent before this time
 */
export function callUnderKey(gatewayKey: string, ids: SentIds, sentSince: Date): CallUnderKey {
  return { gatewayKey, ids: isUuidv8(gatewayKey) ? null : ids, sentSince };
}

export function earlier(a: Date, b: Date): Date {
  return a < b ? a : b;
}
