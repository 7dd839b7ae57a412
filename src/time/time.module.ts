import { Global, Module } from '@nestjs/common';
import { Clock } from './clock.js';

/** Global, because every room needs the time. */
@Global()
@Module({ providers: [Clock], exports: [Clock] })
export class TimeModule {}
