import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { askInTime } from '../time/deadline.js';
import type { ReadinessDto } from './health.dto.js';

type ReadinessReport = Pick<ReadinessDto, 'status' | 'checks'>;

/** If `SELECT 1` takes longer than this, the database is as good as down for payments. */
const DATABASE_TIMEOUT_MS = 1_000;

/** The service can take payments while its database answers and it has not begun to stop. */
@Injectable()
export class Readiness {
  private stopping = false;
  /** One query at a time, however long it takes. Otherwise anyone could load a slow database: the route is public. */
  private question: Promise<'up' | 'down'> | null = null;

  constructor(private readonly dataSource: DataSource) {}

  /** From now on reports `stopping`, so that load balancers send requests elsewhere. */
  stop(): void {
    this.stopping = true;
  }

  async check(): Promise<ReadinessReport> {
    const question = (this.question ??= this.askDatabase());
    const ended = await askInTime(() => question, { limitMs: DATABASE_TIMEOUT_MS });
    const database = ended.kind === 'answered' ? ended.answer : 'down';
    if (this.stopping) return { status: 'stopping', checks: { database } };
    return { status: database === 'up' ? 'ok' : 'unavailable', checks: { database } };
  }

  private async askDatabase(): Promise<'up' | 'down'> {
    try {
      await this.dataSource.query('SELECT 1');
      return 'up';
    } catch {
      return 'down';
    } finally {
      this.question = null;
    }
  }
}
