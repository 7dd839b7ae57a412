import { Module } from '@nestjs/common';
import { BalancesStore } from './balances.store.js';
import { ClosingStore } from './closing.store.js';
import { LedgerController } from './ledger.controller.js';
import { LedgerEntriesStore } from './ledger-entries.store.js';
import { LedgerStore } from './ledger.store.js';
import { SnapshotWorker } from './snapshot.worker.js';
import { SnapshotsStore } from './snapshots.store.js';

/** Books the transfers that settlements send, and reads what was booked. */
@Module({
  controllers: [LedgerController],
  providers: [LedgerStore, BalancesStore, LedgerEntriesStore, ClosingStore, SnapshotsStore, SnapshotWorker],
  exports: [LedgerStore],
})
export class LedgerModule {}
