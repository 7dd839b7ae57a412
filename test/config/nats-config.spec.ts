import { ConfigError, loadConfig } from '../../src/config/load-config.js';

const NOBODY = { user: null, password: null, token: null };

it('uses no broker unless one is configured', () => {
  expect(loadConfig({})).toMatchObject({ eventsNats: null, commandsNats: null });
});

it.each([
  ['nats://broker', { servers: ['broker:4222'], ...NOBODY, tls: false }],
  ['tls://broker.example.com:4443/', { servers: ['broker.example.com:4443'], ...NOBODY, tls: true }],
  [
    'nats://shop:p%40ss@broker',
    { servers: ['broker:4222'], user: 'shop', password: 'p@ss', token: null, tls: false },
  ],
  [
    'nats://t0ken@broker',
    { servers: ['broker:4222'], user: null, password: null, token: 't0ken', tls: false },
  ],
  ['nats://a, nats://b:1 ,nats://[::1]:2', { servers: ['a:4222', 'b:1', '[::1]:2'], ...NOBODY, tls: false }],
])('reads %s', (url, expected) => {
  expect(loadConfig({ EVENTS_NATS_URL: url }).eventsNats).toEqual(expected);
  expect(loadConfig({ COMMANDS_NATS_URL: url }).commandsNats).toEqual(expected);
});

it.each([
  'broker:4222',
  'http://broker',
  'nats://',
  'nats://secret:%zz@broker',
  'nats://broker/path',
  'nats://a,b',
])('refuses %s without repeating it, because it may hold a password', (url) => {
  const load = () => loadConfig({ EVENTS_NATS_URL: url });
  expect(load).toThrow(ConfigError);
  expect(load).toThrow(/EVENTS_NATS_URL must be a URL such as nats:\/\/user:password@host:4222/);
  expect(load).not.toThrow(/secret/);
});
