import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth/scopes.decorator.js';
import { ApiProblems, REQUEST_ID_HEADER } from '../http/api-docs.js';
import { listCurrencies } from './currencies.js';
import { CurrencyListDto, ListCurrenciesDto } from './currency.dto.js';

@ApiTags('Currencies')
@ApiProblems('unauthorized', 'service_unavailable', 'internal_error')
@Controller('v1/currencies')
export class CurrenciesController {
  @Get()
  @Scopes('payments:read')
  @ApiOperation({
    summary: 'The currencies that can be charged, with their exponents',
    description: 'All of them, by code, in one answer.',
    operationId: 'listCurrencies',
  })
  @ApiOkResponse({ type: CurrencyListDto, headers: REQUEST_ID_HEADER })
  @ApiProblems('validation_failed')
  list(@Query() _query: ListCurrenciesDto): CurrencyListDto {
    return { data: listCurrencies() };
  }
}
