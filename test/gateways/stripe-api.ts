import {
  cardError,
  failed,
  isCreatedWithin,
  isExpanded,
  list,
  Missing,
  missing,
  ok,
  refused,
  text,
  token,
  unexpectedState,
  type ApiAnswer,
  type ChargeObject,
  type Form,
  type Intent,
  type RefundObject,
} from './stripe-wire.js';

/** Stripe's own test tokens and their outcomes. */
const DECLINES: Readonly<Record<string, { code: string; decline_code?: string }>> = {
  pm_card_visa_chargeDeclined: { code: 'card_declined', decline_code: 'generic_decline' },
  pm_card_visa_chargeDeclinedInsufficientFunds: { code: 'card_declined', decline_code: 'insufficient_funds' },
  pm_card_visa_chargeDeclinedStolenCard: { code: 'card_declined', decline_code: 'stolen_card' },
  pm_card_chargeDeclinedExpiredCard: { code: 'expired_card' },
  pm_card_chargeDeclinedIncorrectCvc: { code: 'incorrect_cvc' },
  pm_card_chargeDeclinedProcessingError: { code: 'processing_error' },
  pm_card_authenticationRequired: {
    code: 'authentication_required',
    decline_code: 'authentication_required',
  },
};

const CREATE_PARAMETERS = new Set([
  'amount',
  'currency',
  'payment_method',
  'allowed_payment_method_types',
  'capture_method',
  'confirm',
  'error_on_requires_action',
  'metadata',
]);
const CANCELABLE = new Set(['requires_payment_method', 'requires_capture', 'requires_action', 'processing']);
const MIN_AMOUNT = 50;

/** Stripe's objects, and its endpoints without HTTP. */
export class StripeApi {
  readonly intents = new Map<string, Intent>();
  readonly refunds = new Map<string, RefundObject>();
  private readonly charges = new Map<string, ChargeObject>();
  /** Ids that the search knows. A new one is added at once, or only when the test indexes it. */
  private readonly indexed = new Set<string>();
  indexAtOnce = true;

  index(): void {
    for (const id of this.intents.keys()) this.indexed.add(id);
  }

  handle(method: string, path: string, form: Form): ApiAnswer {
    const [resource, id = '', action] = path.replace(/^\/v1\//, '').split('/');
    if (resource === 'payment_intents') {
      if (method === 'GET') return this.readIntents(id, form);
      if (id === '') return this.createIntent(form);
      if (action === 'confirm') return this.confirm(this.require(id), form);
      if (action === 'capture') return this.capture(this.require(id), form);
      if (action === 'cancel') return this.cancel(this.require(id));
    }
    if (resource === 'refunds') {
      if (method === 'GET') return this.readRefunds(id, form);
      if (id === '') return this.createRefund(form);
    }
    return refused(404, { message: `Unrecognized request URL (${method}: ${path}).` });
  }

  private createIntent(form: Form): ApiAnswer {
    if ('payment_method_types' in form) {
      return refused(400, {
        code: 'payment_method_types_no_longer_supported',
        param: 'payment_method_types',
      });
    }
    const unknown = Object.keys(form).find((name) => !CREATE_PARAMETERS.has(name));
    if (unknown !== undefined) return refused(400, { code: 'parameter_unknown', param: unknown });
    const amount = Number(form['amount']);
    if (!Number.isInteger(amount) || amount < 1) {
      return refused(400, { code: 'parameter_invalid_integer', param: 'amount' });
    }
    const method = text(form['payment_method']);
    if (!method.startsWith('pm_')) {
      return refused(400, { code: 'resource_missing', param: 'payment_method' });
    }
    if (amount < MIN_AMOUNT) return failed(400, { code: 'amount_too_small', param: 'amount' });
    const intent: Intent = {
      id: `pi_${token()}`,
      object: 'payment_intent',
      amount,
      amount_received: 0,
      amount_capturable: 0,
      currency: text(form['currency']),
      capture_method: text(form['capture_method'] ?? 'automatic'),
      created: Math.floor(Date.now() / 1_000),
      last_payment_error: null,
      latest_charge: null,
      livemode: false,
      metadata: (form['metadata'] ?? {}) as Record<string, string>,
      payment_method: method,
      status: 'requires_confirmation',
    };
    this.intents.set(intent.id, intent);
    if (this.indexAtOnce) this.indexed.add(intent.id);
    return form['confirm'] === 'true' ? this.confirm(intent, form) : ok(intent);
  }

  private confirm(intent: Intent, form: Form): ApiAnswer {
    if (!['requires_confirmation', 'requires_payment_method'].includes(intent.status)) {
      return unexpectedState(intent, 'confirmed');
    }
    const method = text(form['payment_method'] ?? intent.payment_method);
    const decline = DECLINES[method];
    if (decline !== undefined) {
      intent.status = 'requires_payment_method';
      intent.payment_method = null;
      intent.last_payment_error = { type: 'card_error', message: 'Your card was declined.', ...decline };
      this.addCharge(intent, false);
      return cardError(intent, decline);
    }
    if (method === 'pm_processing') intent.status = 'processing';
    else if (method === 'pm_requires_action') intent.status = 'requires_action';
    else if (intent.capture_method === 'manual') {
      intent.status = 'requires_capture';
      intent.amount_capturable = intent.amount;
      this.addCharge(intent, true);
    } else {
      intent.status = 'succeeded';
      intent.amount_received = intent.amount;
      this.addCharge(intent, true);
    }
    return ok(intent);
  }

  private addCharge(intent: Intent, paid: boolean): void {
    const charge: ChargeObject = {
      id: `ch_${token()}`,
      object: 'charge',
      amount: intent.amount,
      amount_captured: intent.amount_received,
      captured: intent.amount_received > 0,
      paid,
      status: paid ? 'succeeded' : 'failed',
    };
    this.charges.set(charge.id, charge);
    intent.latest_charge = charge.id;
  }

  private capture(intent: Intent, form: Form): ApiAnswer {
    if (intent.status !== 'requires_capture') return unexpectedState(intent, 'captured');
    const amount = Number(form['amount_to_capture'] ?? intent.amount);
    if (amount > intent.amount_capturable) {
      return failed(400, { code: 'amount_too_large', param: 'amount_to_capture' });
    }
    intent.status = 'succeeded';
    intent.amount_received = amount;
    intent.amount_capturable = 0;
    Object.assign(intent.metadata, form['metadata']);
    const charge = this.charges.get(intent.latest_charge ?? '');
    if (charge !== undefined) Object.assign(charge, { captured: true, amount_captured: amount });
    return ok(intent);
  }

  private cancel(intent: Intent): ApiAnswer {
    if (!CANCELABLE.has(intent.status)) return unexpectedState(intent, 'canceled');
    intent.status = 'canceled';
    intent.amount_capturable = 0;
    return ok(intent);
  }

  private createRefund(form: Form): ApiAnswer {
    const intent = this.require(text(form['payment_intent']));
    const left = intent.amount_received - this.refunded(intent.id);
    const amount = Number(form['amount'] ?? left);
    if (left === 0) return failed(400, { code: 'charge_already_refunded' });
    if (amount > left) return failed(400, { param: 'amount', message: 'Refund amount is too large.' });
    const refund: RefundObject = {
      id: `re_${token()}`,
      object: 'refund',
      amount,
      created: Math.floor(Date.now() / 1_000),
      currency: intent.currency,
      metadata: (form['metadata'] ?? {}) as Record<string, string>,
      payment_intent: intent.id,
      status: intent.payment_method === 'pm_card_pendingRefund' ? 'pending' : 'succeeded',
    };
    this.refunds.set(refund.id, refund);
    return ok(refund);
  }

  private readIntents(id: string, form: Form): ApiAnswer {
    if (id === 'search') {
      const [, name = '', value = ''] = /^metadata\['([^']+)'\]:'([^']+)'$/.exec(text(form['query'])) ?? [];
      const data = [...this.intents.values()].filter(
        (intent) => this.indexed.has(intent.id) && intent.metadata[name] === value,
      );
      return ok({
        object: 'search_result',
        data,
        has_more: false,
        next_page: null,
        url: '/v1/payment_intents/search',
      });
    }
    if (id !== '') return ok(this.expanded(this.require(id), form, 'latest_charge'));
    return list(
      [...this.intents.values()]
        .filter((intent) => isCreatedWithin(intent, form))
        .map((intent) => this.expanded(intent, form, 'data.latest_charge')),
      form,
    );
  }

  /** The charge instead of its id, if the request expands it. */
  private expanded(intent: Intent, form: Form, path: string): Omit<Intent, 'latest_charge'> {
    const charge = this.charges.get(intent.latest_charge ?? '');
    const expanded = { ...intent, latest_charge: charge };
    return charge !== undefined && isExpanded(form, path) ? expanded : intent;
  }

  private readRefunds(id: string, form: Form): ApiAnswer {
    if (id === '') {
      const of = form['payment_intent'];
      const expands = isExpanded(form, 'data.payment_intent');
      return list(
        [...this.refunds.values()]
          .filter(
            (refund) => (of === undefined || refund.payment_intent === of) && isCreatedWithin(refund, form),
          )
          .map((refund) => ({
            ...refund,
            payment_intent: expands ? this.require(refund.payment_intent) : refund.payment_intent,
          })),
        form,
      );
    }
    const refund = this.refunds.get(id);
    return refund === undefined ? missing('refund', id) : ok(refund);
  }

  private refunded(intentId: string): number {
    const refunds = [...this.refunds.values()].filter(({ payment_intent }) => payment_intent === intentId);
    return refunds.reduce((sum, { amount }) => sum + amount, 0);
  }

  private require(id: string): Intent {
    const intent = this.intents.get(id);
    if (intent === undefined) throw new Missing(missing('intent', id));
    return intent;
  }
}
