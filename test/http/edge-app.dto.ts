import { IsIn, IsOptional, IsUUID, Max, Min } from 'class-validator';
import { IsCurrencyCode } from '../../src/currencies/currency-code.validator.js';
import { IsAmount, IsPaymentMethodToken, IsSafeText, IsStringMap } from '../../src/http/field-validators.js';

/** Has the shape of a payment's body, so that these tests are true of payments too. */
export class ThingDto {
  @IsAmount()
  amount!: number;

  @IsCurrencyCode()
  currency!: string;

  @IsPaymentMethodToken()
  payment_method!: string;

  @IsOptional()
  @IsUUID()
  user_id?: string;

  @IsOptional()
  @IsIn(['automatic', 'manual'])
  capture_method?: string;

  @IsOptional()
  @IsSafeText(1, 20)
  description?: string;

  @IsOptional()
  @IsStringMap(2, 5, 10)
  metadata?: Record<string, string>;
}

/** Has the shape of a capture's body: every field is optional. */
export class CloseThingDto {
  @IsOptional()
  @IsAmount()
  amount?: number;
}

export class ThingsQueryDto {
  @IsOptional()
  @Min(1)
  @Max(100)
  limit?: number;

  @IsOptional()
  @IsSafeText(1, 10)
  status?: string;
}
