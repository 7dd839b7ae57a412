/** Every HTTP subject gets this charge, each time under another key. */
export const CHARGE_BODY = JSON.stringify({
  amount: 1999,
  currency: 'EUR',
  payment_method: 'pm_card_visa',
  user_id: '0b6b2f0e-58c8-4d64-9c0f-9d1b6a3f1c55',
  description: 'Order 1001',
  metadata: { order_id: '1001' },
});

export const CHARGE_PATH = '/v1/payments';
/** The sandbox's default key; the references ignore it. */
export const API_KEY = 'sk_sandbox_hapax';
