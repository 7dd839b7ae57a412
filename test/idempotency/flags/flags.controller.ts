import { Body, Controller, Param, Post } from '@nestjs/common';
import { CurrentMerchant } from '../../../src/auth/merchant.decorator.js';
import { Scopes } from '../../../src/auth/scopes.decorator.js';
import type { Answer } from '../../../src/idempotency/operation.js';
import { OperationRunner } from '../../../src/idempotency/operation.runner.js';
import { Idempotent } from '../../../src/idempotency/wire/idempotent.decorator.js';
import { Keyed, type KeyedRequest } from '../../../src/idempotency/wire/keyed-request.js';
import { PaymentsStore } from '../../../src/payments/payments.store.js';
import { CreateFlagDto } from './flag.dto.js';

@Controller('v1')
export class FlagsController {
  constructor(
    private readonly runner: OperationRunner,
    private readonly payments: PaymentsStore,
  ) {}

  @Post('payments/:transaction_id/flags')
  @Scopes('payments:write')
  @Idempotent({ operation: 'flag_payment' })
  async create(
    @CurrentMerchant() merchantId: string,
    @Keyed() keyed: KeyedRequest,
    @Param('transaction_id') id: string,
    @Body() { reason }: CreateFlagDto,
  ): Promise<Answer> {
    const { transactionId } = await this.payments.require(merchantId, id);
    const command = { transactionId, reason };
    return this.runner.run({ ...keyed, merchantId, params: { transactionId }, body: { reason }, command });
  }
}
