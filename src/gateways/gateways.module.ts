import { join } from 'node:path';
import { Global, Module } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { Gateway } from './gateway.js';
import { SandboxBooks } from './sandbox/sandbox-books.js';
import { SandboxGateway } from './sandbox/sandbox.gateway.js';
import { UnconfiguredGateway } from './unconfigured.gateway.js';

/** Which gateway moves the money. Outside the sandbox none is assumed: money never goes to a pretend provider. */
@Global()
@Module({
  providers: [
    {
      provide: Gateway,
      inject: [CONFIG],
      useFactory: (config: Config): Gateway => {
        if (!config.sandbox) return new UnconfiguredGateway();
        return new SandboxGateway(new SandboxBooks(join(config.dataDir, 'sandbox-gateway', 'books.sqlite')));
      },
    },
  ],
  exports: [Gateway],
})
export class GatewaysModule {}
