import { Injectable } from '@nestjs/common';

/**
 * Wakes this process's recovery worker for a claim that is due before its next round. It stands between the two because
 * the worker needs the executor, and the executor finds out what is due. It only makes things faster: a worker that is
 * not woken, in this process or another, finds the claim in its next round.
 */
@Injectable()
export class DueClaims {
  wake: () => void = () => undefined;
}
