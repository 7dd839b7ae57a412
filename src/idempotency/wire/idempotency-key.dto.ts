import { ApiProperty } from '@nestjs/swagger';

const KEY_STATES = ['in_progress', 'completed', 'released', 'expired', 'reversed'] as const;

/** The state of a key, on the wire. */
export class IdempotencyKeyDto {
  @ApiProperty({ example: 'order-1001-charge' })
  idempotency_key!: string;

  @ApiProperty({
    enum: KEY_STATES,
    example: 'completed',
    description:
      '`in_progress`: being worked on. `completed`: the answer is stored. `released`: the last try had no effect, send it ' +
      'again. `expired`: the stored answer is gone, and what it created answers in its present state. `reversed`: sealed ' +
      'before a request with it had an effect, and refused for ever.',
  })
  state!: (typeof KEY_STATES)[number];

  @ApiProperty({ example: 'charge' })
  operation!: string;

  @ApiProperty({
    type: String,
    nullable: true,
    format: 'uri-reference',
    example: '/v1/payments/019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e',
    description: 'What the key made; null as long as there is nothing.',
  })
  resource!: string | null;

  @ApiProperty({ type: 'integer', nullable: true, example: 201, description: 'Of the stored answer.' })
  response_status!: number | null;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 1,
    description:
      'How often a process began to work on it: for a request, or to ask the payment provider what became of a call. ' +
      'Null once that is forgotten, in the states `expired` and `reversed`.',
  })
  attempts!: number | null;

  @ApiProperty({
    example: false,
    description:
      'Whether a process works on it now. A key that is `in_progress` and not running waits for the next attempt; the same ' +
      'request makes it at once.',
  })
  running!: boolean;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description:
      "Until when no other process takes it over, by the database's clock. If the process that runs it is lost, its work " +
      'is continued after this time. Null if it is not running.',
  })
  running_until!: string | null;

  @ApiProperty({ format: 'date-time', example: '2026-01-31T09:30:00.000Z' })
  first_seen_at!: string;

  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: '2026-02-01T09:30:00.012Z',
    description:
      'When the stored answer is deleted. Null if it never is: what was refused under a key stays refused, with the ' +
      'first answer.',
  })
  expires_at!: string | null;
}
