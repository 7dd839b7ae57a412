// Does what a first user does with `npm start` in a fresh data folder: pays, pays again with the same key, stops the
// service, starts it again, asks a third time, and presses Ctrl-C while another payment runs. Exits with code 0 if
// every answer equals the first, byte for byte, and the last payment was answered too.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const READY_LIMIT_MS = 120_000;
const STOP_LIMIT_MS = 10_000;

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'hapax-smoke-'));
// If we run as root, PostgreSQL runs as another user, who must be able to enter.
await chmod(folder, 0o755);
const port = await freePort();
const base = `http://127.0.0.1:${port}`;
let service;

try {
  const key = randomUUID();
  await start();
  const first = await pay(key);
  assert.equal(first.status, 201, first.body);
  assert.equal(first.replayed, 'false');
  const second = await pay(key);
  assert.deepEqual(second, { ...first, replayed: 'true' });
  await stop('SIGTERM');

  await start();
  assert.deepEqual(await pay(key), second);
  const [slow] = await Promise.all([
    pay(randomUUID(), 'pm_gateway_slow'),
    sleep(500).then(() => stop('SIGINT')),
  ]);
  assert.equal(slow.status, 201);
  console.log('One charge, three equal answers, over a restart, and a request in flight was finished');
} finally {
  killAll();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

async function start() {
  const startedAt = Date.now();
  service = spawn('npm', ['start'], {
    cwd: root,
    // Its own process group, as in a terminal, so that a signal can go to all of it, like Ctrl-C.
    detached: true,
    env: {
      ...process.env,
      PORT: String(port),
      DATA_DIR: folder,
      DATABASE_URL: '',
      SANDBOX: 'true',
      SANDBOX_API_KEY: '',
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  while (!(await isReady())) {
    assert.equal(service.exitCode, null, 'npm start ended instead of getting ready');
    assert.ok(Date.now() - startedAt < READY_LIMIT_MS, `npm start was not ready within ${READY_LIMIT_MS} ms`);
    await sleep(100);
  }
  console.log(`Ready after ${Date.now() - startedAt} ms`);
}

async function isReady() {
  try {
    return (await fetch(`${base}/health/ready`)).ok;
  } catch {
    return false;
  }
}

async function pay(key, payment_method = 'pm_card_visa') {
  const answer = await fetch(`${base}/v1/payments`, {
    method: 'POST',
    headers: {
      authorization: 'Bearer sk_sandbox_hapax',
      'content-type': 'application/json',
      'idempotency-key': key,
    },
    body: JSON.stringify({ amount: 1999, currency: 'EUR', payment_method }),
  });
  return {
    status: answer.status,
    replayed: answer.headers.get('idempotent-replayed'),
    location: answer.headers.get('location'),
    contentType: answer.headers.get('content-type'),
    body: Buffer.from(await answer.arrayBuffer()).toString('latin1'),
  };
}

/** SIGTERM to npm alone, as a service manager sends it; SIGINT to every process of the group, as a terminal does. */
async function stop(signal) {
  const stoppedAt = Date.now();
  const exited = once(service, 'exit');
  process.kill(signal === 'SIGINT' ? -service.pid : service.pid, signal);
  const inTime = await Promise.race([exited.then(() => true), sleep(STOP_LIMIT_MS, false, { ref: false })]);
  assert.ok(inTime, `${signal} did not stop npm start within ${STOP_LIMIT_MS} ms`);
  while (await isReady()) {
    assert.ok(Date.now() - stoppedAt < STOP_LIMIT_MS, `the service outlived npm after ${signal}`);
    await sleep(50);
  }
  console.log(`Stopped by ${signal} after ${Date.now() - stoppedAt} ms`);
}

function killAll() {
  try {
    process.kill(-service.pid, 'SIGKILL');
  } catch {
    // Everything has already ended.
  }
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port: free } = probe.address();
  probe.close();
  return free;
}
