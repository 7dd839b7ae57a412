import { Logger, Module } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { AuthModule } from '../auth/auth.module.js';
import type { NatsConfig } from '../config/config.js';
import { HttpModule } from '../http/http.module.js';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { CommandServer } from './command-server.js';
import { PaymentCommandsController } from './payment-commands.controller.js';

/** The commands that a broker may send. Nothing listens until {@link takeCommands}. */
@Module({
  imports: [AuthModule, HttpModule, IdempotencyModule],
  controllers: [PaymentCommandsController],
})
export class CommandsModule {}

/** Takes commands from the moment the service listens until it begins to stop. */
export function takeCommands(app: NestFastifyApplication, config: NatsConfig): void {
  const server = new CommandServer(config);
  app.connectMicroservice({ strategy: server });
  const instance = app.getHttpAdapter().getInstance();
  instance.addHook('onListen', (done) => {
    // Not awaited, because the broker may be down for any length of time.
    app.startAllMicroservices().catch((error: unknown) => {
      if (!server.isStopping) new Logger(CommandServer.name).error(`takes no commands: ${String(error)}`);
    });
    done();
  });
  instance.addHook('preClose', () => server.stopTaking());
}
