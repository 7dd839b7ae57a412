import { Injectable } from '@nestjs/common';

/**
 * Wakes this process's recovery worker for a claim that is due before its next round. It stands between worker and
 * executor, because the worker needs the executor, and the executor finds out what is due. It only speeds things up:
 * without a wake, the worker of this or another process finds the claim in its next round.
 */
@Injectable()
export class DueClaims {
  wake: () => void = () => undefined;
}
