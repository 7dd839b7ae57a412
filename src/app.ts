import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { AppModule } from './app.module.js';
import { takeCommands } from './broker/commands.module.js';
import type { Config } from './config/config.js';
import { createFastifyAdapter } from './http/fastify.js';
import { NestLogger } from './http/nest-logger.js';
import { setupOpenApi } from './http/openapi.js';
import { OperationRunner } from './idempotency/operation.runner.js';

/** The whole service on one database, ready to listen. */
export async function createApp(
  config: Config,
  databaseUrl: string,
  logger: Logger,
): Promise<NestFastifyApplication> {
  const app = await NestFactory.create<NestFastifyApplication>(
    AppModule.forRoot(config, databaseUrl),
    createFastifyAdapter(config, logger),
    // Throw errors instead of printing them and exiting, so that the caller can explain them plainly.
    { logger: new NestLogger(logger), bodyParser: false, abortOnError: false },
  );
  setupOpenApi(app, config);
  if (config.commandsNats !== null) takeCommands(app, config.commandsNats);
  return app;
}

/**
 * Stops listening, lets the connections end (see `http/drain.ts`), and then closes everything else. It also waits for operations whose
 * client has hung up: they run without a request, and need the database to settle.
 */
export async function closeApp(app: NestFastifyApplication): Promise<void> {
  await app.getHttpAdapter().getInstance().close();
  await app.get(OperationRunner).idle();
  await app.close();
}
