import ms from 'ms';
import type { AmountDiffers, List, MissingHere, MissingThere, Open } from '../reconciliation/report.js';
import type { Reconciled, ReconcileOptions } from './reconcile.js';
import { formatTable } from './table.js';

export function reconciledToWire(
  { gateway, compared, report, repaired }: Reconciled,
  { from, to, merchantId }: ReconcileOptions,
) {
  return {
    agrees: report.agrees,
    gateway,
    from: from?.toISOString() ?? null,
    to: to?.toISOString() ?? null,
    merchant_id: merchantId,
    compared,
    repaired,
    missing_here: report.missingHere,
    missing_there: report.missingThere,
    amount_differs: report.amountDiffers,
    open: { count: report.open.count, overdue: report.overdue, data: report.open.data },
  };
}

/** The same as lines of text for a person. */
export function describeReconciled(
  { gateway, compared, report, repaired }: Reconciled,
  { openAfterMs }: ReconcileOptions,
): string[] {
  const { payments, refunds, effects } = compared;
  return [
    `Compared ${payments} payments and ${refunds} refunds with ${effects} effects in the books of ${gateway}.`,
    ...(repaired === null ? [] : [`Repaired: ${repaired}. What is left:`]),
    '',
    ...section('Missing here (the gateway did it, and we do not say so)', report.missingHere, missingHereRow),
    ...section(
      'Missing there (we say so, and the gateway has no trace of it)',
      report.missingThere,
      thereRow,
    ),
    ...section('Amounts that differ', report.amountDiffers, differsRow),
    ...section(
      `Open (${report.overdue} of them for more than ${ms(openAfterMs)}, which counts)`,
      report.open,
      openRow,
    ),
    report.agrees ? 'The books agree.' : 'The books differ.',
  ];
}

function section<Item>(
  title: string,
  { count, data }: List<Item>,
  row: (item: Item) => Record<string, string>,
): string[] {
  if (count === 0) return [`${title}: none`, ''];
  const more = count > data.length ? [`… and ${count - data.length} more`] : [];
  return [`${title}: ${count}`, '', formatTable(data.map(row), ''), ...more, ''];
}

function missingHereRow(item: MissingHere): Record<string, string> {
  return {
    kind: item.kind,
    reference: item.reference,
    transaction: item.transaction_id ?? '-',
    refund: item.refund_id ?? '-',
    key: item.gateway_key ?? '-',
    amount: money(item.amount, item.currency),
    at: item.at,
    here: item.status_here ?? 'no payment',
    advice: item.advice,
  };
}

function thereRow(item: MissingThere): Record<string, string> {
  return {
    kind: item.kind,
    reference: item.reference ?? '-',
    transaction: item.transaction_id ?? '-',
    refund: item.refund_id ?? '-',
    amount: money(item.amount, item.currency),
    advice: item.advice,
  };
}

function differsRow(item: AmountDiffers): Record<string, string> {
  return {
    kind: item.kind,
    reference: item.reference,
    transaction: item.transaction_id ?? '-',
    refund: item.refund_id ?? '-',
    here: money(item.amount_here, item.currency_here),
    there: money(item.amount_there, item.currency_there),
    advice: item.advice,
  };
}

function openRow(item: Open): Record<string, string> {
  return {
    kind: item.kind,
    transaction: item.transaction_id ?? '-',
    refund: item.refund_id ?? '-',
    amount: money(item.amount, item.currency),
    age: ms(item.age_seconds * 1_000),
    there: item.is_there ? 'yes' : 'no',
    overdue: item.overdue ? 'yes' : 'no',
    advice: item.advice,
  };
}

/** The amount in minor units, as everywhere. */
function money(amount: number | null, currency: string): string {
  return `${amount ?? '?'} ${currency}`;
}
