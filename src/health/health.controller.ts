import { Controller, Get, HttpStatus, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { RelayMetrics } from '../events/relay-metrics.js';
import { Public } from '../http/public.decorator.js';
import { UnknownOutcomesReport } from '../idempotency/unknown-outcomes.js';
import { LivenessDto, ReadinessDto } from './health.dto.js';
import { Readiness } from './readiness.js';

@ApiTags('Service')
@Public()
@Controller('health')
export class HealthController {
  constructor(
    private readonly readiness: Readiness,
    private readonly unknownOutcomes: UnknownOutcomesReport,
    private readonly relay: RelayMetrics,
  ) {}

  @Get('live')
  @ApiOperation({ summary: 'Whether the process serves', operationId: 'getLiveness' })
  @ApiOkResponse({ type: LivenessDto })
  live(): LivenessDto {
    return { status: 'ok' };
  }

  @Get('ready')
  @ApiOperation({ summary: 'Whether payments can be taken', operationId: 'getReadiness' })
  @ApiOkResponse({ type: ReadinessDto })
  @ApiServiceUnavailableResponse({
    type: ReadinessDto,
    description: 'The database is down, or the service stops.',
  })
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<ReadinessDto> {
    const report = await this.readiness.check();
    if (report.status !== 'ok') void reply.status(HttpStatus.SERVICE_UNAVAILABLE);
    const isUp = report.checks.database === 'up';
    const [unknown, waiting] = isUp
      ? await Promise.all([this.unknownOutcomes.read(), this.relay.read()])
      : [null, null];
    return {
      ...report,
      unknown_outcomes: unknown && { count: unknown.count, oldest_seconds: unknown.oldestSeconds },
      waiting_events:
        waiting &&
        waiting.map(({ sink, count, oldestSeconds }) => ({ sink, count, oldest_seconds: oldestSeconds })),
    };
  }
}
