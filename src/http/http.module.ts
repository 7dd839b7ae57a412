import { Module } from '@nestjs/common';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { ProblemFilter } from './problem.filter.js';
import { ProblemsController } from './problems.controller.js';
import { PublicUrl } from './public-url.js';
import { ValidationPipe } from './validation.pipe.js';

/** The edge: every error becomes a problem document, every DTO is validated. */
@Module({
  controllers: [ProblemsController],
  providers: [
    PublicUrl,
    { provide: APP_FILTER, useClass: ProblemFilter },
    { provide: APP_PIPE, useClass: ValidationPipe },
  ],
  exports: [PublicUrl],
})
export class HttpModule {}
