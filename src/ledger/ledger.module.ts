import { Module } from '@nestjs/common';
import { BalancesStore } from './balances.store.js';
import { ClosingStore } from './closing.store.js';
import { LedgerController } from './ledger.controller.js';
import { LedgerEntriesStore } from './ledger-entries.store.js';
import { SnapshotWorker } from './snapshot.worker.js';
import { SnapshotsStore } from './snapshots.store.js';

/** What was booked, as it is read. What books it is a settlement: see `ledger.store.ts` and `settlement.writer.ts`. */
@Module({
  controllers: [LedgerController],
  providers: [BalancesStore, LedgerEntriesStore, ClosingStore, SnapshotsStore, SnapshotWorker],
})
export class LedgerModule {}
