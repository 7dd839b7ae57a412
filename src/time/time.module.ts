import { Global, Module } from '@nestjs/common';
import { Clock } from './clock.js';

/** Global, since every room tells the time. */
@Global()
@Module({ providers: [Clock], exports: [Clock] })
export class TimeModule {}
