import { randomBytes } from 'node:crypto';

/** A decoded form body or query: `a[b]=c` is `{ a: { b: 'c' } }`, and every leaf is a string. */
export type Form = { [name: string]: string | Form };

export interface ApiAnswer {
  status: number;
  body: object;
  /** False if refused before the endpoint starts: Stripe does not keep that under the idempotency key. */
  kept: boolean;
}

export interface Intent {
  id: string;
  object: 'payment_intent';
  amount: number;
  amount_received: number;
  amount_capturable: number;
  currency: string;
  capture_method: string;
  created: number;
  last_payment_error: object | null;
  latest_charge: string | null;
  livemode: boolean;
  metadata: Record<string, string>;
  payment_method: string | null;
  status: string;
}

export interface RefundObject {
  id: string;
  object: 'refund';
  amount: number;
  created: number;
  currency: string;
  metadata: Record<string, string>;
  payment_intent: string;
  status: string;
}

export interface ChargeObject {
  id: string;
  object: 'charge';
  amount: number;
  amount_captured: number;
  captured: boolean;
  paid: boolean;
  status: string;
}

/** Thrown for a missing object. */
export class Missing extends Error {
  constructor(readonly answer: ApiAnswer) {
    super('resource_missing');
  }
}

export function errorBody(error: Record<string, unknown>): object {
  return {
    error: { type: 'invalid_request_error', message: 'Something is wrong with the request.', ...error },
  };
}

export function ok(body: object): ApiAnswer {
  return { status: 200, body: structuredClone(body), kept: true };
}

export function refused(status: number, error: Record<string, unknown>): ApiAnswer {
  return { status, body: errorBody(error), kept: false };
}

export function failed(status: number, error: Record<string, unknown>): ApiAnswer {
  return { status, body: structuredClone(errorBody(error)), kept: true };
}

export function missing(param: string, id: string): ApiAnswer {
  return failed(404, { code: 'resource_missing', param, message: `No such ${param}: '${id}'` });
}

export function cardError(intent: Intent, decline: object): ApiAnswer {
  return failed(402, { type: 'card_error', charge: `ch_${token()}`, payment_intent: intent, ...decline });
}

export function unexpectedState(intent: Intent, action: string): ApiAnswer {
  const message = `This PaymentIntent could not be ${action} because it has a status of ${intent.status}.`;
  return failed(400, { code: 'payment_intent_unexpected_state', message, payment_intent: intent });
}

/** Newest first, in pages, like all of Stripe's lists. */
export function list(all: readonly { id: string }[], form: Form): ApiAnswer {
  const newestFirst = all.toReversed();
  const limit = Number(form['limit'] ?? 10);
  const start = newestFirst.findIndex(({ id }) => id === form['starting_after']) + 1;
  const data = newestFirst.slice(start, start + limit);
  return ok({ object: 'list', data, has_more: start + limit < newestFirst.length, url: '/v1/list' });
}

export function isCreatedWithin({ created }: { created: number }, form: Form): boolean {
  const { gte = '0', lt = 'Infinity' } = (form['created'] ?? {}) as Record<string, string>;
  return created >= Number(gte) && created < Number(lt);
}

/** `expand[0]=data.latest_charge` */
export function isExpanded(form: Form, path: string): boolean {
  return Object.values((form['expand'] ?? {}) as Form).includes(path);
}

/** A leaf. A branch in its place counts as no value. */
export function text(value: string | Form | null | undefined): string {
  return typeof value === 'string' ? value : '';
}

export function token(): string {
  return randomBytes(12).toString('hex');
}
