import { ApiProperty } from '@nestjs/swagger';

export class LivenessDto {
  @ApiProperty({ enum: ['ok'] })
  status!: 'ok';
}

class ReadinessChecksDto {
  @ApiProperty({ enum: ['up', 'down'] })
  database!: 'up' | 'down';
}

class UnknownOutcomesDto {
  @ApiProperty({ type: 'integer', example: 0, description: 'Calls that the gateway has not answered.' })
  count!: number;

  @ApiProperty({ example: 0, description: 'Age of the oldest of them.' })
  oldest_seconds!: number;
}

class WaitingEventsDto {
  @ApiProperty({ example: 'nats' })
  sink!: string;

  @ApiProperty({ type: 'integer', example: 0, description: 'Events that the sink has not taken yet.' })
  count!: number;

  @ApiProperty({ example: 0, description: 'Age of the oldest of them.' })
  oldest_seconds!: number;
}

export class ReadinessDto {
  @ApiProperty({ enum: ['ok', 'unavailable', 'stopping'] })
  status!: 'ok' | 'unavailable' | 'stopping';

  @ApiProperty()
  checks!: ReadinessChecksDto;

  @ApiProperty({
    type: UnknownOutcomesDto,
    nullable: true,
    description:
      'They are worth a look when they grow old, and no reason to take no payments. Null if not known.',
  })
  unknown_outcomes!: UnknownOutcomesDto | null;

  @ApiProperty({
    type: [WaitingEventsDto],
    nullable: true,
    description: 'What is still to be handed on to each sink. Null if not known.',
  })
  waiting_events!: WaitingEventsDto[] | null;
}
