import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { Payment, PaymentStatus } from '../domain/payment.js';
import { firstUuidAt } from '../ids/uuidv7.js';
import { PaymentEntity } from './payment.entity.js';

interface PaymentFilter {
  status?: PaymentStatus | undefined;
  currency?: string | undefined;
  userId?: string | undefined;
  createdGte?: Date | undefined;
  createdLt?: Date | undefined;
  /** Only payments older than this one, which is the last on the previous page. */
  before?: string | undefined;
}

/**
 * A payment's id carries its own time, to the millisecond. All payments of the slack are read in vain, so it is short:
 * at two thousand charges a second a minute would be a hundred thousand of them.
 */
const ID_SLACK_MS = 1_000;

/** Adds a parameter and returns its place in the statement. */
type Place = (value: unknown) => string;

/** Reads a merchant's payments as a list. */
@Injectable()
export class PaymentListStore {
  constructor(private readonly dataSource: DataSource) {}

  /**
   * Newest first. A UUIDv7 begins with its time, so the primary key gives the order, and a period is a range of it.
   *
   * No statement may read all payments of a merchant to find a few. But an index that knows the status would be changed
   * by every charge, because each is pending before it is completed. So every status that is rare is found elsewhere:
   * see {@link sourceOf}.
   */
  async list(merchantId: string, filter: PaymentFilter, limit: number): Promise<Payment[]> {
    const values: unknown[] = [merchantId];
    const place: Place = (value) => `$${values.push(value)}`;
    const rows = await this.dataSource.query<object[]>(
      `SELECT ${this.columns}
       FROM ${sourceOf(filter.status)}
       WHERE ${['p.merchant_id = $1', ...rangeOf(filter, place), ...conditionsOf(filter, place)].join(' AND ')}
       ORDER BY ${idOf(filter)} DESC
       LIMIT ${place(limit)}`,
      values,
    );
    return rows.map((row) => Object.assign(new PaymentEntity(), row).toPayment());
  }

  private get columns(): string {
    return this.dataSource
      .getMetadata(PaymentEntity)
      .columns.map(({ databaseName, propertyName }) => `p.${databaseName} AS "${propertyName}"`)
      .join(', ');
  }
}

/** Where payments of a status are found. */
function sourceOf(status: PaymentStatus | undefined): string {
  switch (status) {
    // A charge has a claim in progress for as long as its payment is pending, and there are few such claims. OFFSET 0
    // keeps the planner from walking all payments instead, to ask for each whether it has a claim.
    case 'pending':
      return `(SELECT DISTINCT k.resource_id FROM idempotency_keys k
          WHERE k.merchant_id = $1 AND k.status = 'in_progress' OFFSET 0) o
        JOIN payments p ON p.transaction_id = o.resource_id`;
    // A canceled payment has exactly one such event, and nothing happens to it later.
    case 'canceled':
      return `events e
        JOIN payments p ON p.merchant_id = e.merchant_id AND p.transaction_id = e.transaction_id
          AND e.merchant_id = $1 AND e.type = 'payment.canceled'`;
    case 'authorized':
    case 'completed':
    case 'failed':
    case undefined:
      return 'payments p';
  }
}

/** The column whose index gives the order. */
function idOf({ status }: PaymentFilter): string {
  return status === 'canceled' ? 'e.transaction_id' : 'p.transaction_id';
}

function rangeOf(filter: PaymentFilter, place: Place): string[] {
  const { createdGte, createdLt, before } = filter;
  const conditions: string[] = [];
  const bound = (operator: string, id: string): void => {
    conditions.push(`${idOf(filter)} ${operator} ${place(id)}`);
  };
  if (createdGte !== undefined) {
    conditions.push(`p.created_at >= ${place(createdGte)}`);
    bound('>=', firstUuidAt(new Date(createdGte.getTime() - ID_SLACK_MS)));
  }
  if (createdLt !== undefined) {
    conditions.push(`p.created_at < ${place(createdLt)}`);
    bound('<', firstUuidAt(new Date(createdLt.getTime() + ID_SLACK_MS)));
  }
  if (before !== undefined) bound('<', before);
  return conditions;
}

function conditionsOf({ status, currency, userId }: PaymentFilter, place: Place): string[] {
  const conditions: string[] = [];
  if (status !== undefined) conditions.push(`p.status = ${place(status)}`);
  // What the indexes of these statuses say, in columns that a charge which succeeds at once never changes.
  if (status === 'failed') conditions.push('p.failure_code IS NOT NULL');
  if (status === 'authorized')
    conditions.push(`p.capture_method = 'manual'`, 'p.closed_by_key IS NULL', 'p.failure_code IS NULL');
  if (currency !== undefined) conditions.push(`p.currency = ${place(currency)}`);
  if (userId !== undefined) conditions.push(`p.user_id = ${place(userId)}`);
  return conditions;
}
