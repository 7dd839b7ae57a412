import { Module } from '@nestjs/common';
import { CurrenciesController } from './currencies.controller.js';

/** The route that lists currencies. To look one up, import `currencies.ts`; you do not need this module. */
@Module({ controllers: [CurrenciesController] })
export class CurrenciesModule {}
