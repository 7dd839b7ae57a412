import type { AddressInfo } from 'node:net';
import { loadConfig } from '../../src/config/load-config.js';
import { publicUrl, PublicUrl } from '../../src/http/public-url.js';
import { createEdgeApp } from './edge-app.js';

describe('the public URL', () => {
  it('is PUBLIC_URL if that is set', () => {
    const config = loadConfig({ PUBLIC_URL: 'https://pay.test/base/' });
    expect(publicUrl(config, { address: '127.0.0.1', family: 'IPv4', port: 1 })).toBe(
      'https://pay.test/base',
    );
  });

  it.each([
    ['127.0.0.1', 'http://localhost:8080'],
    ['0.0.0.0', 'http://localhost:8080'],
    ['::', 'http://localhost:8080'],
    ['10.0.0.7', 'http://10.0.0.7:8080'],
    ['fd00::7', 'http://[fd00::7]:8080'],
  ])('is one that clients can use when the server listens on %s', (address, expected) => {
    expect(publicUrl(loadConfig({}), { address, family: '', port: 8080 })).toBe(expected);
  });

  it('has the port that the system assigned', async () => {
    const { app } = await createEdgeApp();
    try {
      expect(app.get(PublicUrl).base).toBe('http://localhost:0');
      await app.listen(0, '127.0.0.1');
      const { port } = app.getHttpServer().address() as AddressInfo;
      expect(app.get(PublicUrl).base).toBe(`http://localhost:${port}`);
    } finally {
      await app.close();
    }
  });
});
