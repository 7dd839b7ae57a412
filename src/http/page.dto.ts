import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, IsOptional, Max, Min } from 'class-validator';
import { IsSafeText, IsTime } from './field-validators.js';

const MAX_PAGE_SIZE = 100;
export const DEFAULT_PAGE_SIZE = 20;
const LIMIT_RULE = { message: `must be a whole number from 1 to ${MAX_PAGE_SIZE}` };

/** The query parameters of every list. */
export class PageQueryDto {
  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE })
  @IsOptional()
  @IsInt(LIMIT_RULE)
  @Min(1, LIMIT_RULE)
  @Max(MAX_PAGE_SIZE, LIMIT_RULE)
  limit?: number;

  @ApiPropertyOptional({ description: 'The `next_cursor` of the page before.' })
  @IsOptional()
  @IsSafeText(1, 100)
  cursor?: string;
}

/** Adds a range of time, which includes its start and excludes its end. */
export class PeriodQueryDto extends PageQueryDto {
  @ApiPropertyOptional({ format: 'date-time', description: 'Created at or after this time.' })
  @IsOptional()
  @IsTime()
  created_gte?: string;

  @ApiPropertyOptional({ format: 'date-time', description: 'Created before this time.' })
  @IsOptional()
  @IsTime()
  created_lt?: string;
}

/** What every list returns beside its `data`. */
export class PageAnswerDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'Leads to the next page; null on the last.',
  })
  next_cursor!: string | null;
}
