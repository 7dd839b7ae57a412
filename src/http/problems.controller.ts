import { Controller, Get, Headers, Param, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { type RefusalCode, RefusedError } from '../domain/errors.js';
import { ApiProblems } from './api-docs.js';
import { problemPage, problemsPage } from './problem-pages.js';
import { isProblemCode, PROBLEM_CODES, PROBLEMS, problemType } from './problem-table.js';
import { Public } from './public.decorator.js';
import { PublicUrl } from './public-url.js';

const DOCUMENT_CONTENT = {
  'text/html': { schema: { type: 'string' } },
  'application/json': { schema: { type: 'object' } },
} as const;

/** The pages behind a problem's `type`: HTML for people, or JSON if the client asks for it. */
@ApiTags('Service')
@Public()
@Controller('problems')
export class ProblemsController {
  constructor(private readonly publicUrl: PublicUrl) {}

  @Get()
  @ApiOperation({ summary: 'All problem types', operationId: 'listProblems' })
  @ApiOkResponse({ description: 'HTML, or JSON with `Accept: application/json`.', content: DOCUMENT_CONTENT })
  list(
    @Headers('accept') accept: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): unknown {
    if (prefersJson(accept, reply)) return { data: PROBLEM_CODES.map((code) => this.describe(code)) };
    return problemsPage();
  }

  @Get(':code')
  @ApiOperation({ summary: 'What a problem type means', operationId: 'getProblem' })
  @ApiParam({ name: 'code', example: 'card_declined', schema: { type: 'string' } })
  @ApiOkResponse({ description: 'HTML, or JSON with `Accept: application/json`.', content: DOCUMENT_CONTENT })
  @ApiProblems('not_found')
  read(
    @Param('code') code: string,
    @Headers('accept') accept: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): unknown {
    if (!isProblemCode(code)) throw new RefusedError({ code: 'not_found', what: 'problem type' });
    return prefersJson(accept, reply) ? this.describe(code) : problemPage(code);
  }

  private describe(code: RefusalCode) {
    const { status, title, retry, effect, description } = PROBLEMS[code];
    return { type: problemType(code, this.publicUrl.base), code, status, title, retry, effect, description };
  }
}

/** JSON only if `Accept` names JSON and not HTML. Browsers and `curl` accept anything, so they get the page. */
function prefersJson(accept: string | undefined, reply: FastifyReply): boolean {
  const json = accept !== undefined && /\bjson\b/i.test(accept) && !/\bhtml\b/i.test(accept);
  void reply
    .header('vary', 'accept')
    .type(json ? 'application/json; charset=utf-8' : 'text/html; charset=utf-8');
  return json;
}
