import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import type { Currency } from './currencies.js';

class CurrencyDto implements Currency {
  @ApiProperty({ example: 'KWD', pattern: '^[A-Z]{3}$', description: 'ISO 4217.' })
  code!: string;

  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 3,
    description: 'The decimal digits of the minor unit: with 3, an amount of 1999 is 1.999.',
  })
  exponent!: number;

  @ApiProperty({ example: 'Kuwaiti Dinar' })
  name!: string;
}

export class CurrencyListDto {
  @ApiProperty({
    type: [CurrencyDto],
    example: [
      { code: 'EUR', exponent: 2, name: 'Euro' },
      { code: 'JPY', exponent: 0, name: 'Japanese Yen' },
      { code: 'KWD', exponent: 3, name: 'Kuwaiti Dinar' },
    ],
  })
  data!: CurrencyDto[];
}

/** The query of the list of currencies. It has no parameters, so any parameter is a 400. */
@ApiSchema({ description: 'Nothing.' })
export class ListCurrenciesDto {}
