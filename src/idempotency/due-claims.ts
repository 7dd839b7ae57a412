import { Injectable } from '@nestjs/common';

/**
 * Word to this process's recovery worker that a claim is due before its next round. It only makes things faster: a
 * worker that hears nothing, in this process or another, finds the claim in that round.
 */
@Injectable()
export class DueClaims {
  private listener: () => void = () => undefined;

  onDue(listener: () => void): void {
    this.listener = listener;
  }

  announce(): void {
    this.listener();
  }
}
