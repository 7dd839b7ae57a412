import type { GatewayEffect } from '../gateways/gateway-books.js';
import type { ExpectedEffect, MissingReason } from './compare.js';
import type { BookedPayment } from './our-books.store.js';

export const DIFFERS_ADVICE = 'A person has to find out which is right. Change neither before.';

/**
 * What to do about an effect that our books lack. Never "add it here": the client got another answer or none, and a
 * payment that no client asked for would have no key and no answer. So undo it where it happened.
 */
export function missingHereAdvice(
  effect: GatewayEffect,
  ours: BookedPayment | null,
  reason: MissingReason,
): string {
  if (reason === 'no_payment') {
    return 'We have no such payment. If no other system made it, undo it at the gateway by its reference.';
  }
  if (reason === 'one_too_many') return 'It happened twice. Undo this one at the gateway by its reference.';
  switch (effect.kind) {
    case 'charge':
    case 'authorization':
      return ours?.status === 'failed'
        ? 'The client was told that it failed. Undo it at the gateway by its reference.'
        : 'The payment here is another charge. Undo this one at the gateway by its reference.';
    case 'capture':
      return 'Captured there, not by us. If nobody meant to, give it back at the gateway by its reference.';
    case 'void':
      return ours?.status === 'authorized'
        ? 'The authorization has ended there. Cancel the payment here, by the API.'
        : 'The authorization was given up there. A person has to decide.';
    case 'refund':
      return 'Given back there, not by us. Do not refund it here again.';
  }
}

export function missingThereAdvice({ kind }: ExpectedEffect): string {
  return kind === 'refund'
    ? 'The customer may not have the money. Look at the gateway why, before it is sent again.'
    : 'First make sure that these are the right books: account, mode, DATA_DIR. Deliver nothing for it.';
}

export function openAdvice({ open }: ExpectedEffect, isThere: boolean): string {
  if (open === null || open.claim === null) return 'No claim is in progress for it, so nothing ends it.';
  if (!open.claim.leaseExpired) return 'Somebody is working on it.';
  return isThere
    ? 'Its end is known: --repair carries it there.'
    : 'The gateway has nothing so far. The service asks until it knows: see that it runs.';
}
