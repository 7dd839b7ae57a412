import { Logger } from '@nestjs/common';
import { ConfigError, loadConfig } from '../config/load-config.js';
import { StartupError } from '../config/startup-error.js';
import { openSandboxEngine } from '../gateways/sandbox/sandbox-gateway.host.js';
import {
  createSandboxGatewayServer,
  SANDBOX_GATEWAY_HOST,
} from '../gateways/sandbox/sandbox-gateway.server.js';
import { createLogger } from '../http/logger.js';
import { NestLogger } from '../http/nest-logger.js';

/** Runs the sandbox provider as its own process, so that you can kill it or the service while the other runs. */
async function main(): Promise<void> {
  // It needs no database, and it exists only in the sandbox.
  const config = loadConfig({ ...process.env, SANDBOX: 'true', GATEWAY: 'sandbox' });
  Logger.overrideLogger(new NestLogger(createLogger(config)));
  const engine = openSandboxEngine(config.dataDir, config.sandboxGateway);
  const server = createSandboxGatewayServer(engine);
  const { port } = config.sandboxGateway;
  const address = await server.listen({ port, host: SANDBOX_GATEWAY_HOST }).catch((error: unknown) => {
    throw explain(error, port);
  });
  engine.start();
  const stop = (): void => {
    void server
      .close()
      .then(() => engine.close())
      .finally(() => process.exit(0));
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.stdout.write(`\nThe sandbox gateway listens: ${address}\nIts books: ${address}/books\n\n`);
}

function explain(error: unknown, port: number): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code !== 'EADDRINUSE') return error;
  return new StartupError(
    `Port ${port} on ${SANDBOX_GATEWAY_HOST} is taken: perhaps "npm start" serves the gateway there, ` +
      'which it does unless SANDBOX_GATEWAY_URL points to one. Stop it, or set SANDBOX_GATEWAY_PORT to another port.',
  );
}

main().catch((error: unknown) => {
  const plain = error instanceof StartupError || error instanceof ConfigError;
  process.stderr.write(`${plain ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});
