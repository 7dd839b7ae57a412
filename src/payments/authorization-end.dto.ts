import { ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { IsAmount } from '../http/field-validators.js';
import { AMOUNT } from './payment.dto.js';

/** The body of a capture. It may be empty. */
export class CapturePaymentDto {
  @ApiPropertyOptional({
    ...AMOUNT,
    example: 1500,
    description: 'What to take of the authorized amount; all of it if left out. The rest is given up.',
  })
  @IsOptional()
  @IsAmount()
  amount?: number | null;
}

/** The body of a cancel: nothing, or `{}`. */
@ApiSchema({ description: 'Nothing.' })
export class CancelPaymentDto {}
