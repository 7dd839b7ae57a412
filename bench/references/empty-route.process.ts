import 'reflect-metadata';
import { Body, Controller, Module, Post, ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { CreatePaymentDto, type PaymentDto } from '../../src/payments/payment.dto.js';
import { announce } from './announce.js';

const PAYMENT: PaymentDto = {
  transaction_id: '019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e',
  merchant_id: '00000000-0000-7000-8000-000000000001',
  user_id: '0b6b2f0e-58c8-4d64-9c0f-9d1b6a3f1c55',
  amount: 1999,
  amount_captured: 1999,
  amount_refunded: 0,
  currency: 'EUR',
  status: 'completed',
  payment_method: 'pm_card_visa',
  capture_method: 'automatic',
  description: 'Order 1001',
  metadata: { order_id: '1001' },
  failure: null,
  created_at: '2026-01-31T09:30:00.000Z',
  updated_at: '2026-01-31T09:30:00.000Z',
};

/**
 * The fastest that Nest on Fastify can serve such a request: it parses and validates the body and returns a constant.
 * No key, no authentication, no log, no metrics, no database.
 */
@Controller('v1/payments')
class EmptyController {
  @Post()
  create(@Body() _body: CreatePaymentDto): PaymentDto {
    return PAYMENT;
  }
}

@Module({ controllers: [EmptyController] })
class EmptyModule {}

const app = await NestFactory.create<NestFastifyApplication>(EmptyModule, new FastifyAdapter(), {
  logger: false,
});
app.useGlobalPipes(new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true }));
await announce(app);
