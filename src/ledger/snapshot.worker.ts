import {
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { NIL } from 'uuid';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { Clock } from '../time/clock.js';
import { Backoff } from '../time/backoff.js';
import { Worker } from '../time/worker.js';
import { ClosingStore } from './closing.store.js';
import { SnapshotsStore } from './snapshots.store.js';

/** At two thousand charges a second, a balance reads forty thousand entries that no snapshot holds yet: some 15 ms. */
const INTERVAL_MS = 10_000;
/** With very many merchants a run takes long only to look at them all. Then there are fewer runs. */
const WORKING_SHARE = 0.02;
/** How many merchants one statement looks at. */
const MERCHANTS_A_PAGE = 500;
/** A balance needs only the newest. The others are for an investigation: which was the first to be wrong? */
const KEPT_SNAPSHOTS = 5;

export interface SnapshotLimits {
  /** With fewer new entries than this, reading them is cheaper than writing a snapshot. */
  minEntries: number;
  /** About how many entries one statement sums up: it stays well within its time limit, however many have gathered. */
  maxEntries: number;
}

const LIMITS: SnapshotLimits = { minEntries: 1_000, maxEntries: 250_000 };

/**
 * Sums up what was booked, so that reading a balance is quick however many entries there are. Charges never wait for
 * it. Any number of processes may run one: two that work at once write the same.
 */
@Injectable()
export class SnapshotWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(SnapshotWorker.name);
  private readonly worker = new Worker({
    name: SnapshotWorker.name,
    backoff: new Backoff({ firstMs: INTERVAL_MS, longestMs: INTERVAL_MS }),
    runOnce: async () => {
      const beganAtMs = this.clock.monotonicMs();
      await this.runOnce();
      const tookMs = this.clock.monotonicMs() - beganAtMs;
      return { idleMs: Math.max(INTERVAL_MS, tookMs / WORKING_SHARE) };
    },
  });

  constructor(
    private readonly transactions: PipelinedTransactions,
    private readonly closing: ClosingStore,
    private readonly snapshots: SnapshotsStore,
    private readonly clock: Clock,
  ) {}

  /** Before the first request: on a database restored on another server, no charge could be settled until then. */
  async onApplicationBootstrap(): Promise<void> {
    await this.reopenIfBehind();
    this.worker.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.worker.stop();
  }

  /** Writes the snapshots that are due, and returns for how many merchants it wrote one. */
  async runOnce(limits = LIMITS): Promise<number> {
    await this.reopenIfBehind();
    let written = 0;
    for (let after: string = NIL; ;) {
      const page = await this.snapshots.candidates(after, MERCHANTS_A_PAGE, limits.minEntries);
      const due = page.filter((merchant) => merchant.due);
      const closedBelow = due.length > 0 ? await this.closing.close() : 0n;
      for (const { merchantId } of due) {
        if (await this.snapshot(merchantId, closedBelow, limits.maxEntries)) written += 1;
      }
      if (page.length < MERCHANTS_A_PAGE) return written;
      after = page.at(-1)?.merchantId ?? NIL;
    }
  }

  private async snapshot(merchantId: string, closedBelow: bigint, maxEntries: number): Promise<boolean> {
    let wrote = false;
    for (let horizon: bigint | null = 0n; horizon !== null && horizon < closedBelow;) {
      horizon = await this.snapshots.carryForward(merchantId, closedBelow, maxEntries);
      wrote ||= horizon !== null;
    }
    if (wrote) await this.snapshots.prune(merchantId, KEPT_SNAPSHOTS);
    return wrote;
  }

  private async reopenIfBehind(): Promise<void> {
    if (!(await this.closing.isBehind())) return;
    await this.transactions.run((tx) => [this.closing.lockOutWriters(tx), this.closing.reopen(tx)]);
    this.logger.warn(
      'this database was restored on another server: the ledger goes on above its closed books',
    );
  }
}
