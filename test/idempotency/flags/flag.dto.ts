import { IsSafeText } from '../../../src/http/field-validators.js';

const MAX_REASON_LENGTH = 100;

export class CreateFlagDto {
  @IsSafeText(1, MAX_REASON_LENGTH)
  reason!: string;
}
