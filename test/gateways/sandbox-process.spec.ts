import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { SandboxHttpGateway } from '../../src/gateways/sandbox/sandbox-http.gateway.js';
import { childEnvironment } from '../support/child-environment.js';
import { createTemporaryFolder, type TemporaryFolder } from '../support/postgres.js';
import { chargeRequest, patience, sent } from './sandbox-fixture.js';

const ENTRY = fileURLToPath(new URL('../../src/cli/sandbox-gateway.js', import.meta.url));
const CONCURRENT = 50;

describe('the process of the sandbox gateway', () => {
  let folder: TemporaryFolder;
  let running: ChildProcess | undefined;

  beforeEach(async () => {
    folder = await createTemporaryFolder();
  });
  afterEach(async () => {
    running?.kill('SIGKILL');
    await folder.remove();
  });

  /** @returns where it listens. */
  async function start(env: Record<string, string> = {}): Promise<string> {
    const child = spawn(process.execPath, ['--no-warnings', ENTRY], {
      env: childEnvironment({
        DATA_DIR: folder.path,
        SANDBOX_GATEWAY_PORT: '0',
        LOG_LEVEL: 'silent',
        ...env,
      }),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    running = child;
    let output = '';
    for await (const chunk of child.stdout) {
      output += String(chunk);
      const url = /listens: (http:\S+)/.exec(output)?.[1];
      if (url !== undefined) return url;
    }
    throw new Error(`the gateway ended: ${output}`);
  }

  async function kill(): Promise<void> {
    const child = running;
    if (child === undefined) return;
    child.kill('SIGKILL');
    if (child.signalCode === null) await once(child, 'exit');
  }

  async function booksAt(url: string): Promise<{ idempotency_key: string; reference: string }[]> {
    return ((await (await fetch(`${url}/books`)).json()) as { data: [] }).data;
  }

  it('keeps every acknowledged effect through a kill -9 under load', async () => {
    const url = await start();
    const gateway = new SandboxHttpGateway(url);
    const acknowledged = new Map<string, string>();
    const killed = new AbortController();
    const load = Array.from({ length: CONCURRENT }, async () => {
      while (!killed.signal.aborted) {
        const request = chargeRequest();
        const outcome = await gateway.charge(request, patience(2_000));
        if (outcome.kind === 'approved') acknowledged.set(request.gatewayKey, outcome.reference);
      }
    });
    while (acknowledged.size < 500) await new Promise((resolve) => setTimeout(resolve, 5));
    await kill();
    killed.abort();
    await Promise.all(load);

    const again = await start();
    const kept = new Map((await booksAt(again)).map((effect) => [effect.idempotency_key, effect.reference]));
    for (const [key, reference] of acknowledged) expect(kept.get(key)).toBe(reference);
    expect(kept.size).toBeGreaterThanOrEqual(acknowledged.size);
  });

  it('remembers its answers and its closed keys after a kill -9', async () => {
    const first = new SandboxHttpGateway(await start());
    const [charged, declined, absent] = [chargeRequest(), chargeRequest('pm_card_declined'), chargeRequest()];
    const outcome = await first.charge(charged, patience(2_000));
    const no = await first.charge(declined, patience(2_000));
    await first.inquire(sent(absent), new Date(), patience(2_000));
    await kill();

    const url = await start();
    const second = new SandboxHttpGateway(url);
    expect(await second.charge(charged, patience(2_000))).toEqual(outcome);
    expect(await second.charge(declined, patience(2_000))).toEqual(no);
    expect(await second.charge(absent, patience(2_000))).toEqual({ kind: 'unavailable' });
    expect(await booksAt(url)).toHaveLength(1);
  });

  it('plays the script that it was started with, and stops on SIGTERM while a call waits', async () => {
    const url = await start({ SANDBOX_GATEWAY_SCRIPT: '{"faults":{"silence_after":1}}' });
    const waiting = new SandboxHttpGateway(url).charge(chargeRequest(), patience(5_000));
    while ((await booksAt(url)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    running?.kill('SIGTERM');
    expect(await waiting).toEqual({ kind: 'unknown' });
    if (running?.exitCode === null) await once(running, 'exit');
    expect(running?.exitCode).toBe(0);
  });
});
