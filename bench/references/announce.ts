import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { AddressInfo } from 'node:net';
import { HOST } from '../processes.js';

/** Listens on a free port, reports it to the parent process, and exits with the parent. */
export async function announce(app: NestFastifyApplication): Promise<void> {
  await app.listen(0, HOST);
  const { port } = app.getHttpServer().address() as AddressInfo;
  process.send?.({ port });
  process.on('disconnect', () => process.exit(0));
}
