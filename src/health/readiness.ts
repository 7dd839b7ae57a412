import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { askInTime } from '../time/deadline.js';
import type { ReadinessDto } from './health.dto.js';

type ReadinessReport = Pick<ReadinessDto, 'status' | 'checks'>;

/** A database that takes longer than this for nothing at all is down as far as payments are concerned. */
const DATABASE_TIMEOUT_MS = 1_000;

/** Whether the service can take payments: its database answers, and it has not begun to stop. */
@Injectable()
export class Readiness {
  private stopping = false;
  /** One at a time, for as long as it takes: the route needs no API key, and a slow database no more questions. */
  private question: Promise<'up' | 'down'> | null = null;

  constructor(private readonly dataSource: DataSource) {}

  /** Turns load balancers away. */
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
