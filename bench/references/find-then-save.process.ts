import 'reflect-metadata';
import { Body, Controller, Headers, Injectable, Module, Post, ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, Repository } from 'typeorm';
import { CreatePaymentDto } from '../../src/payments/payment.dto.js';
import { announce } from './announce.js';
import { LedgerEntry, Payment, PaymentEvent } from './find-then-save.entity.js';

const MERCHANT_ID = '00000000-0000-7000-8000-000000000001';

/**
 * What tutorials on idempotency with Nest and TypeORM teach: look for the key, save if it is not there, and save again
 * when the gateway has answered. It writes what Hapax writes, except for the claim. It has no lease, no fence and no
 * stored answer, so a crash or two simultaneous requests can charge twice. It has no authentication, log or metrics
 * either.
 */
@Injectable()
class PaymentsService {
  constructor(
    @InjectRepository(Payment) private readonly payments: Repository<Payment>,
    private readonly dataSource: DataSource,
  ) {}

  async charge(idempotencyKey: string, body: CreatePaymentDto): Promise<Payment> {
    const existing = await this.payments.findOne({ where: { merchantId: MERCHANT_ID, idempotencyKey } });
    if (existing !== null) return existing;
    const payment = await this.payments.save(
      this.payments.create({
        merchantId: MERCHANT_ID,
        idempotencyKey,
        userId: body.user_id ?? null,
        amount: body.amount,
        currency: body.currency,
        status: 'pending',
        paymentMethod: body.payment_method,
        captureMethod: body.capture_method ?? 'automatic',
        description: body.description ?? null,
        metadata: body.metadata ?? {},
      }),
    );
    const gatewayReference = await callGateway(payment);
    return this.dataSource.transaction(async (manager) => {
      const completed = await manager.save(
        Object.assign(payment, {
          status: 'completed',
          amountCaptured: body.amount,
          gatewayReference,
        } as const),
      );
      const { transactionId, currency } = completed;
      await manager.save(LedgerEntry, [
        { transactionId, currency, account: 'gateway_receivable', amount: body.amount },
        { transactionId, currency, account: 'merchant_payable', amount: -body.amount },
      ]);
      await manager.save(PaymentEvent, {
        transactionId,
        type: 'payment.completed',
        resource: completed,
      });
      return completed;
    });
  }
}

/** Approves immediately, as the sandbox gateway does. */
async function callGateway({ transactionId }: Payment): Promise<string> {
  return `sbx_${transactionId}`;
}

@Controller('v1/payments')
class PaymentsController {
  constructor(private readonly payments: PaymentsService) {}

  @Post()
  create(
    @Headers('idempotency-key') idempotencyKey: string,
    @Body() body: CreatePaymentDto,
  ): Promise<Payment> {
    return this.payments.charge(idempotencyKey, body);
  }
}

const [url, poolSize] = process.argv.slice(2);

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'postgres',
      ...(url !== undefined && { url }),
      poolSize: Number(poolSize),
      entities: [Payment, LedgerEntry, PaymentEvent],
      synchronize: true,
    }),
    TypeOrmModule.forFeature([Payment]),
  ],
  controllers: [PaymentsController],
  providers: [PaymentsService],
})
class FindThenSaveModule {}

const app = await NestFactory.create<NestFastifyApplication>(FindThenSaveModule, new FastifyAdapter(), {
  logger: false,
});
app.useGlobalPipes(new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true }));
await announce(app);
