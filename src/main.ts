import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { closeApp, createApp } from './app.js';
import type { Config } from './config/config.js';
import { ConfigError, loadConfig } from './config/load-config.js';
import { StartupError } from './config/startup-error.js';
import { isDatabaseUnavailable } from './database/database-errors.js';
import { startEmbeddedPostgres, type EmbeddedPostgresServer } from './embedded-postgres/server.js';
import { settingsThatLoseCommits } from './database/durability.js';
import { pendingMigrations, runMigrations } from './database/migrations.js';
import { SandboxGatewayHost } from './gateways/sandbox/sandbox-gateway.host.js';
import { createLogger } from './http/logger.js';
import { PublicUrl } from './http/public-url.js';

/** For requests in flight and PostgreSQL's shutdown together. Recovery takes what lasts longer. */
const SHUTDOWN_LIMIT_MS = 9_000;
const DRAIN_LIMIT_MS = 6_000;
/**
 * Under npm, one Ctrl-C reaches us twice: from the terminal, and repeated by npm. A person takes longer to press it
 * again.
 */
const SECOND_SIGNAL_MS = 1_000;

async function main(): Promise<void> {
  const config = loadConfig(process.env);
  const logger = createLogger(config);
  const embedded = config.databaseUrl === null ? await startEmbeddedPostgres(config.dataDir) : null;
  let app: NestFastifyApplication | undefined;
  try {
    const databaseUrl = config.databaseUrl ?? embedded?.url ?? '';
    await prepareDatabase(config, databaseUrl);
    app = await createApp(config, databaseUrl, logger);
    await app.listen({ port: config.port, host: config.host });
    const sandboxGateway = await app.get(SandboxGatewayHost).listen(app.getHttpServer().address());
    stopOnSignal(app, embedded, logger);
    process.stdout.write(welcome(app, config, sandboxGateway));
  } catch (error) {
    // Close the app before its database. Otherwise the log would show a lost connection instead of the real reason.
    await app?.close();
    await embedded?.stop();
    throw explain(error, config);
  }
}

/**
 * The sandbox migrates itself, on any database. Elsewhere an operator decides, and migrates before the new version
 * starts.
 */
async function prepareDatabase(config: Config, databaseUrl: string): Promise<void> {
  if (config.sandbox) {
    await runMigrations(databaseUrl);
    return;
  }
  if (!config.allowUnsafeDatabase) await refuseUnsafe(databaseUrl);
  const pending = await pendingMigrations(databaseUrl);
  if (pending > 0) {
    throw new StartupError(`The database lacks ${pending} migration(s): run "npm run migration:run" first.`);
  }
}

async function refuseUnsafe(databaseUrl: string): Promise<void> {
  const settings = await settingsThatLoseCommits(databaseUrl);
  if (settings.length === 0) return;
  throw new StartupError(
    `The database has ${settings.join(' and ')} off, so a crash can make it forget charges that were answered, and their ` +
      'retries would charge again: turn that on, or set ALLOW_UNSAFE_DATABASE=true if you want it so.',
  );
}

function stopOnSignal(
  app: NestFastifyApplication,
  embedded: EmbeddedPostgresServer | null,
  logger: Logger,
): void {
  let stoppingSinceMs: number | undefined;
  const stop = (signal: NodeJS.Signals): void => {
    if (stoppingSinceMs !== undefined) {
      // A second signal means "now". Nothing is lost: recovery finishes what was cut off.
      if (performance.now() - stoppingSinceMs > SECOND_SIGNAL_MS) process.exit(1);
      return;
    }
    stoppingSinceMs = performance.now();
    logger.info({ signal }, 'stopping: requests in flight are finished first');
    setTimeout(() => process.exit(1), SHUTDOWN_LIMIT_MS).unref();
    void shutDown(app, embedded).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'could not stop cleanly');
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}

async function shutDown(app: NestFastifyApplication, embedded: EmbeddedPostgresServer | null): Promise<void> {
  const drained = closeApp(app);
  // A gateway call may take longer than we have. Its claim is in the database, and the next start takes it over.
  await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, DRAIN_LIMIT_MS).unref())]);
  await embedded?.stop();
}

function welcome(app: NestFastifyApplication, config: Config, sandboxGateway: string | null): string {
  const { base } = app.get(PublicUrl);
  const lines = ['', `Hapax listens: ${base}/v1`, `Swagger UI:    ${base}/docs`];
  if (sandboxGateway !== null) lines.push(`Sandbox books: ${sandboxGateway}/books`);
  if (config.sandboxApiKey !== null) {
    lines.push(
      '',
      'Charge somebody, and send it again to see that it happened once:',
      '',
      `curl -i ${base}/v1/payments \\`,
      `  -H 'Authorization: Bearer ${config.sandboxApiKey}' \\`,
      `  -H 'Idempotency-Key: order-1001-charge' \\`,
      `  -H 'Content-Type: application/json' \\`,
      `  -d '{"amount":1999,"currency":"EUR","payment_method":"pm_card_visa"}'`,
    );
  }
  return `${lines.join('\n')}\n\n`;
}

/** The usual reasons why a start fails, each as one sentence that says what to do. */
function explain(error: unknown, config: Config): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') {
    return new StartupError(
      `Port ${config.port} on ${config.host} is taken: stop what listens there, or set PORT to another port.`,
    );
  }
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL') {
    return new StartupError(
      `Cannot listen on ${config.host} port ${config.port} (${code}): set HOST and PORT.`,
    );
  }
  if (isDatabaseUnavailable(error) && config.databaseUrl !== null) {
    const { host, pathname } = new URL(config.databaseUrl);
    return new StartupError(`Cannot reach the database ${pathname.slice(1)} at ${host}: ${reason(error)}.`);
  }
  return error;
}

function reason(error: unknown): string {
  if (error instanceof AggregateError) return reason(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  return error.message || (error.cause === undefined ? error.name : reason(error.cause));
}

main().catch((error: unknown) => {
  const plain = error instanceof StartupError || error instanceof ConfigError;
  process.stderr.write(`${plain ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});
