import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional, IsUUID } from 'class-validator';
import { validate as isUuid } from 'uuid';
import { IsCurrencyCode } from '../currencies/currency-code.validator.js';
import { LEDGER_ACCOUNTS, type LedgerAccount } from '../domain/postings.js';
import { PageAnswerDto, PeriodQueryDto } from '../http/page.dto.js';
import type { Balance } from './balances.store.js';
import type { EntryPlace, LedgerEntry } from './ledger-entries.store.js';

const SIGN = 'Debits are positive, credits negative.';
const MAX_POSTING = 32_767;
const EXAMPLE_LEDGER_TRANSACTION_ID = '019b2f6e-7c33-7b1f-8a55-6c0d1e2f3a4b';

const ACCOUNT = { enum: LEDGER_ACCOUNTS, enumName: 'LedgerAccount', example: 'gateway_receivable' } as const;

/** The query of the balances. It has no parameters, so any parameter is a 400. */
@ApiSchema({ description: 'Nothing.' })
export class ListBalancesDto {}

class BalanceDto {
  @ApiProperty({
    ...ACCOUNT,
    description:
      '`gateway_receivable`: what the gateway owes, a debit. `merchant_payable`: what is owed to the merchant, a credit.',
  })
  account!: LedgerAccount;

  @ApiProperty({ example: 'EUR', pattern: '^[A-Z]{3}$' })
  currency!: string;

  @ApiProperty({
    type: 'integer',
    example: 1999,
    description: `The sum of the account's entries, in the currency's minor unit. ${SIGN} It is exact, also beyond 2^53.`,
  })
  balance!: number;
}

export class BalanceListDto {
  @ApiProperty({
    type: [BalanceDto],
    description: 'By currency and account; each account that was ever booked on. A currency sums to zero.',
    example: [
      { account: 'gateway_receivable', currency: 'EUR', balance: 1999 },
      { account: 'merchant_payable', currency: 'EUR', balance: -1999 },
    ],
  })
  data!: BalanceDto[];
}

/** The query of the list of entries. */
export class ListLedgerEntriesDto extends PeriodQueryDto {
  @ApiPropertyOptional({ ...ACCOUNT })
  @IsOptional()
  @IsIn(LEDGER_ACCOUNTS, { message: `must be one of ${LEDGER_ACCOUNTS.join(', ')}` })
  account?: LedgerAccount;

  @ApiPropertyOptional({ example: 'EUR' })
  @IsOptional()
  @IsCurrencyCode()
  currency?: string;

  @ApiPropertyOptional({ format: 'uuid', description: 'The payment that was booked.' })
  @IsOptional()
  @IsUUID('all', { message: 'must be a UUID' })
  transaction_id?: string;
}

/** An entry on the wire. */
class LedgerEntryDto {
  @ApiProperty({ example: `${EXAMPLE_LEDGER_TRANSACTION_ID}.1`, description: 'Opaque, and never changes.' })
  ledger_entry_id!: string;

  @ApiProperty({
    format: 'uuid',
    example: EXAMPLE_LEDGER_TRANSACTION_ID,
    description: 'A UUIDv7. The entries that share it sum to zero.',
  })
  ledger_transaction_id!: string;

  @ApiProperty({ format: 'uuid', description: 'The payment that was booked.' })
  transaction_id!: string;

  @ApiProperty({ ...ACCOUNT })
  account!: LedgerAccount;

  @ApiProperty({ example: 'EUR' })
  currency!: string;

  @ApiProperty({ type: 'integer', example: 1999, description: `In the currency's minor unit. ${SIGN}` })
  amount!: number;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T09:30:00.012Z' })
  created_at!: string;
}

export class LedgerEntryPageDto extends PageAnswerDto {
  @ApiProperty({ type: [LedgerEntryDto] })
  data!: LedgerEntryDto[];
}

export function balanceToWire({ account, currency, balanceMinor }: Balance): BalanceDto {
  return { account, currency, balance: exactInteger(balanceMinor) };
}

export function entryToWire(entry: LedgerEntry): LedgerEntryDto {
  return {
    ledger_entry_id: `${entry.ledgerTransactionId}.${entry.posting}`,
    ledger_transaction_id: entry.ledgerTransactionId,
    transaction_id: entry.transactionId,
    account: entry.account,
    currency: entry.currency,
    amount: exactInteger(entry.amountMinor),
    created_at: entry.createdAt.toISOString(),
  };
}

/** The place in the list that an entry's id names, or undefined if it is not an entry's id. */
export function placeOf(entryId: string): EntryPlace | undefined {
  const [ledgerTransactionId = '', digits = '', ...rest] = entryId.split('.');
  const posting = Number(digits);
  if (!isUuid(ledgerTransactionId) || rest.length > 0) return undefined;
  return /^[1-9]\d{0,4}$/.test(digits) && posting <= MAX_POSTING
    ? { ledgerTransactionId, posting }
    : undefined;
}

/** Sums can exceed JavaScript's exact numbers, but JSON has no such limit, so their digits are written as they are. */
function exactInteger(value: bigint): number {
  const wire = Number(value);
  if (Number.isSafeInteger(wire)) return wire;
  return (JSON as unknown as { rawJSON(text: string): number }).rawJSON(String(value));
}
