import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { PROBLEM_CODES } from './problem-table.js';

class FieldErrorDto {
  @ApiProperty({ example: 'amount' })
  field!: string;

  @ApiProperty({ example: 'must be a whole number from 1 to 999999999999' })
  message!: string;
}

/** The problem document (RFC 9457) that every error answers with. For documentation only. */
export class ProblemDto {
  @ApiProperty({ format: 'uri', description: 'Names the problem, and leads to a page that explains it.' })
  type!: string;

  @ApiProperty({ description: 'What kind of problem it is, always the same for one `code`.' })
  title!: string;

  @ApiProperty({ type: 'integer', description: 'The HTTP status.' })
  status!: number;

  @ApiProperty({ description: 'What happened this time, for a person to read.' })
  detail!: string;

  @ApiProperty({ enum: [...PROBLEM_CODES], description: 'The problem, for a program to act on.' })
  code!: string;

  @ApiProperty({ description: 'Finds this request in the log; the same as `X-Request-Id`.' })
  request_id!: string;

  @ApiProperty({
    enum: ['same_key', 'new_key', 'none'],
    description: 'Whether sending it again makes sense, and with which `Idempotency-Key`.',
  })
  retry!: string;

  @ApiProperty({ enum: ['none', 'applied', 'unknown'], description: 'Whether the request had an effect.' })
  effect!: string;

  @ApiPropertyOptional({ format: 'uuid', description: 'The failed payment, where the problem is a decline.' })
  transaction_id?: string;

  @ApiPropertyOptional({ type: [FieldErrorDto], description: 'What is wrong, where validation failed.' })
  errors?: FieldErrorDto[];
}
