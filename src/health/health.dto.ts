import { ApiProperty } from '@nestjs/swagger';

export class LivenessDto {
  @ApiProperty({ enum: ['ok'] })
  status: 'ok';
}

export class ReadinessChecksDto {
  @ApiProperty({ enum: ['up', 'down'] })
  database: 'up' | 'down';
}

export class ReadinessDto {
  @ApiProperty({ enum: ['ok', 'unavailable', 'stopping'] })
  status: 'ok' | 'unavailable' | 'stopping';

  @ApiProperty()
  checks: ReadinessChecksDto;
}
