import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentMerchant } from '../auth/merchant.decorator.js';
import { Scopes } from '../auth/scopes.decorator.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { decodeCursor, pageOf } from '../http/cursor.js';
import { DEFAULT_PAGE_SIZE } from '../http/page.dto.js';
import { BalancesStore } from './balances.store.js';
import { LedgerEntriesStore } from './ledger-entries.store.js';
import {
  BalanceListDto,
  balanceToWire,
  entryToWire,
  LedgerEntryPageDto,
  ListBalancesDto,
  ListLedgerEntriesDto,
  placeOf,
} from './ledger.dto.js';

@ApiTags('Ledger')
@ApiProblems('unauthorized', 'internal_error')
@Controller('v1')
export class LedgerController {
  constructor(
    private readonly balances: BalancesStore,
    private readonly entries: LedgerEntriesStore,
  ) {}

  @Get('balances')
  @Scopes('payments:read')
  @ApiOperation({
    summary: 'What is in each account now',
    description: 'Exact at one moment: no transaction is counted in one account and not yet in the other.',
    operationId: 'listBalances',
  })
  @ApiOkResponse({ type: BalanceListDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('validation_failed', 'service_unavailable')
  async listBalances(
    @CurrentMerchant() merchantId: string,
    @Query() _query: ListBalancesDto,
  ): Promise<BalanceListDto> {
    return { data: (await this.balances.read(merchantId)).map(balanceToWire) };
  }

  @Get('ledger/entries')
  @Scopes('payments:read')
  @ApiOperation({ summary: 'List ledger entries, newest first', operationId: 'listLedgerEntries' })
  @ApiOkResponse({ type: LedgerEntryPageDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('validation_failed', 'service_unavailable')
  async listEntries(
    @CurrentMerchant() merchantId: string,
    @Query() query: ListLedgerEntriesDto,
  ): Promise<LedgerEntryPageDto> {
    const limit = query.limit ?? DEFAULT_PAGE_SIZE;
    const filter = {
      account: query.account,
      currency: query.currency,
      transactionId: query.transaction_id,
      createdGte: query.created_gte === undefined ? undefined : new Date(query.created_gte),
      createdLt: query.created_lt === undefined ? undefined : new Date(query.created_lt),
      before: decodeCursor(query.cursor, placeOf),
    };
    const entries = await this.entries.list(merchantId, filter, limit + 1);
    return pageOf(entries.map(entryToWire), limit, (entry) => entry.ledger_entry_id);
  }
}
