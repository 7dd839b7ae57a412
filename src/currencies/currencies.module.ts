import { Module } from '@nestjs/common';
import { CurrenciesController } from './currencies.controller.js';

/** What can be paid in. Whoever only asks for a currency imports `currencies.ts`. */
@Module({ controllers: [CurrenciesController] })
export class CurrenciesModule {}
