import { GatewayBooks, type GatewayEffect } from '../../src/gateways/gateway-books.js';

/**
 * Books in which something happens right after they were read. A second look sees it, unless `looksTwice` is false: that
 * is the negative control.
 */
export class RacingBooks extends GatewayBooks {
  readonly name = 'racing';
  private readonly stale: GatewayEffect[] = [];

  constructor(
    private readonly inner: GatewayBooks,
    private readonly act: () => Promise<void>,
    private readonly looksTwice: boolean,
  ) {
    super();
  }

  override async *effects(range: { from: Date | null; to: Date | null }) {
    for await (const page of this.inner.effects(range)) {
      this.stale.push(...page);
      yield page;
    }
    await this.act();
  }

  override async effectsOf(payments: Parameters<GatewayBooks['effectsOf']>[0]): Promise<GatewayEffect[]> {
    if (this.looksTwice) return this.inner.effectsOf(payments);
    const keys = new Set(payments.map(({ chargeKey }) => chargeKey));
    return this.stale.filter(({ chargeKey }) => keys.has(chargeKey));
  }

  override close(): void {
    this.inner.close();
  }
}
