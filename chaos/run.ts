import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from './client.js';
import {
  countOpen,
  documentedStatuses,
  keysInProgress,
  readGatewayBooks,
  readOwnBooks,
  readReconciliation,
  type Evidence,
} from './evidence.js';
import { acknowledged, finalAnswer, Journal, type Entry, type Heard } from './journal.js';
import { Market } from './market.js';
import { faultsOf, TARGETS, weathers, type Fault, type Target, type Weather } from './plan.js';
import { Random } from './random.js';
import { get, send, sendSlowly } from './wire.js';
import type { World } from './world.js';

/** Few enough for two cores, shared with PostgreSQL, the services and the gateway. */
const CLIENTS = 12;
/** How long recovery works alone. */
const ALONE_MS = 20_000;
/**
 * Then clients come back for the rest, because recovery inquires rarely about a call that it has often inquired about.
 */
const RETURNING_MS = 60_000;
const POLL_MS = 250;
const ASKING_AT_ONCE = 16;
const LIMIT_MS = 20_000;
/** Out of four processes. With more, too little would be running for anything to go wrong. */
const INJURED_AT_ONCE = 2;
/** Longer than the server allows for a whole request. */
const SLOW_BODY_MS = 38_000;

/** What was done to a process. */
interface Injuries {
  kills: number;
  stops: number;
}

export interface Course {
  evidence: Evidence;
  injuries: Readonly<Record<Target, Injuries>>;
  weathers: ReadonlyMap<string, number>;
  /**
   * How much was open when the faults stopped, how long it took to end, and for how many intents a client came back.
   */
  quiet: { openAtFirst: number; tookMs: number; cameBack: number };
}

/** Runs the faults, the lies and the clients, and then collects the evidence. */
export class Run {
  private readonly random: Random;
  private readonly journal = new Journal();
  private readonly injuries: Record<Target, Injuries>;
  private readonly weathers = new Map<string, number>();
  private readonly untilMs: number;
  private injured = 0;

  constructor(
    private readonly world: World,
    seed: number,
    lastsMs: number,
    private readonly tell: (line: string) => void,
  ) {
    this.random = new Random(seed);
    this.untilMs = Date.now() + lastsMs;
    this.injuries = Object.fromEntries(
      TARGETS.map((target) => [target, { kills: 0, stops: 0 }]),
    ) as unknown as Record<Target, Injuries>;
  }

  async course(): Promise<Course> {
    await Promise.all([this.clients(), this.lies(), ...TARGETS.map((target) => this.faults(target))]);
    this.tell('the faults have stopped; waiting until nothing is under way');
    const quiet = await this.quiet();
    this.tell('asking once more, of services that have been started again');
    await this.world.restart();
    await this.askAgain();
    const evidence = await this.evidence();
    return { evidence, injuries: this.injuries, weathers: this.weathers, quiet };
  }

  private async clients(): Promise<void> {
    const market = new Market();
    const urls = this.world.services.map(({ url }) => url);
    const clients = Array.from({ length: CLIENTS }, (_, index) => {
      const name = `c${index + 1}`;
      return new Client(name, this.random.fork(name), urls, this.journal, market);
    });
    await Promise.all([...clients.map((client) => client.live(this.untilMs)), this.slowBody()]);
  }

  /** A client that sends the rest of its body after a 408. Takes more than half a minute. */
  private async slowBody(): Promise<void> {
    if (Date.now() + SLOW_BODY_MS > this.untilMs) return;
    await Promise.all(
      this.world.servicePorts.map(async (port, service) => {
        const body = { amount: 4_080 + service, currency: 'EUR', payment_method: 'pm_card_visa' };
        const key = `slow-${service + 1}-charge`;
        const entry = this.journal.open({ key, operation: 'charge', path: '/v1/payments', body });
        const heard = await sendSlowly(port, entry.intent, SLOW_BODY_MS);
        entry.tries.push({ service, heard });
        entry.lost = true;
      }),
    );
  }

  private async lies(): Promise<void> {
    for (const weather of weathers(this.random)) {
      if (Date.now() >= this.untilMs) break;
      this.weathers.set(weather.name, (this.weathers.get(weather.name) ?? 0) + 1);
      this.world.log(`the gateway is ${weather.name}`);
      await this.play(weather.script);
      await sleep(Math.max(0, Math.min(weather.lastsMs, this.untilMs - Date.now())));
    }
  }

  /** A gateway that is down misses this, and plays its own script when it starts. */
  private async play(script: object | null): Promise<boolean> {
    const answer = await fetch(`${this.world.gateway.url}/script`, {
      signal: AbortSignal.timeout(1_000),
      ...(script === null
        ? { method: 'DELETE' }
        : {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify(script),
          }),
    }).catch(() => null);
    return answer?.ok === true;
  }

  private async faults(target: Target): Promise<void> {
    for (const fault of faultsOf(target, this.random)) {
      if (Date.now() + fault.afterMs >= this.untilMs) return;
      await sleep(fault.afterMs);
      while (this.injured >= INJURED_AT_ONCE) await sleep(POLL_MS / 5);
      this.injured += 1;
      await this.strike(target, fault);
      this.injured -= 1;
    }
  }

  private async strike(target: Target, { kind, holdMs }: Fault): Promise<void> {
    const kept = this.world.target(target);
    this.injuries[target][kind === 'kill' ? 'kills' : 'stops'] += 1;
    this.world.log(`${kind} ${target}`);
    await (kind === 'kill' ? kept.kill(holdMs) : kept.pause(holdMs));
    this.world.log(`${target} is back after its ${kind}`);
  }

  /**
   * First recovery works alone. Then the clients that gave up ask again, because recovery might wait minutes for its
   * next look.
   */
  private async quiet(): Promise<Course['quiet']> {
    while (!(await this.play(null))) await sleep(POLL_MS);
    const beganMs = Date.now();
    const openAtFirst = await this.open();
    await this.untilNothingIsOpen(beganMs + ALONE_MS);
    const returning = (await this.open()) === 0 ? [] : await this.returning();
    await inParallel(returning, (entry) => this.comeBack(entry, beganMs + ALONE_MS + RETURNING_MS));
    await this.untilNothingIsOpen(beganMs + ALONE_MS + RETURNING_MS);
    return { openAtFirst, tookMs: Date.now() - beganMs, cameBack: returning.length };
  }

  private async returning(): Promise<Entry[]> {
    const keys = await keysInProgress(this.world.postgres.url);
    return this.journal.entries.filter(({ intent }) => keys.has(intent.key));
  }

  private async comeBack(entry: Entry, giveUpAtMs: number): Promise<void> {
    while (finalAnswer(entry) === null && Date.now() < giveUpAtMs) {
      const service = entry.tries.length % 2;
      const heard = await this.ask(service, entry);
      entry.tries.push({ service, heard });
      await sleep(POLL_MS);
    }
  }

  private async untilNothingIsOpen(giveUpAtMs: number): Promise<void> {
    while ((await this.open()) > 0 && Date.now() < giveUpAtMs) await sleep(POLL_MS);
  }

  private open(): Promise<number> {
    return countOpen(this.world.postgres.url);
  }

  /**
   * Asks again under each key that has a stored answer, including keys whose client gave up or was refused. No others:
   * asking under a released key would charge.
   */
  private async askAgain(): Promise<void> {
    const { keys } = await readOwnBooks(this.world.postgres.url);
    const answered = new Set(
      keys
        .filter(({ status }) => status === 'completed' || status === 'reversed')
        .map((row) => row.idempotency_key),
    );
    const entries = this.journal.entries.filter(
      (entry) => acknowledged(entry) !== null || answered.has(entry.intent.key),
    );
    await inParallel(entries, async (entry) => {
      for (const service of [0, 1]) {
        entry.atEnd.push({ service, heard: await this.ask(service, entry) });
      }
    });
  }

  private ask(service: number, { intent }: Entry): Promise<Heard | null> {
    return send(this.world.services[service]?.url ?? '', intent, { limitMs: LIMIT_MS });
  }

  private async evidence(): Promise<Evidence> {
    const { world } = this;
    const balances = await Promise.all(world.services.map(({ url }) => get(url, '/v1/balances', LIMIT_MS)));
    const openApi = await get(world.services[0].url, '/openapi.json', LIMIT_MS);
    return {
      ...(await readOwnBooks(world.postgres.url)),
      effects: await readGatewayBooks(world.gateway.url),
      reconciled: await readReconciliation(world.env),
      journal: this.journal,
      balances: balances.filter((heard) => heard !== null),
      documented: documentedStatuses((openApi?.json ?? { paths: {} }) as never),
      failures: world.failures,
    };
  }
}

/** The script that the gateway plays after its nth start, until it gets another one. */
export function scriptsFrom(seed: number): (start: number) => object {
  return (start) => first(weathers(new Random(seed).fork(`start ${start}`))).script;
}

function first(drawn: Generator<Weather, never>): Weather {
  return drawn.next().value;
}

async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  await Promise.all(
    Array.from({ length: ASKING_AT_ONCE }, async () => {
      for (const item of left) await act(item);
    }),
  );
}
