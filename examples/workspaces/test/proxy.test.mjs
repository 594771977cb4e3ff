// Behind nginx with TLS: an app and its broker on one host, and two brokers over one Redis.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { logOf } from './support/log.mjs';
import { startNginx } from './support/nginx.mjs';
import { startRedis } from './support/redis.mjs';
import { Broker, Site, freePort } from './support/site.mjs';
import { UserBrowser } from './support/tabs.mjs';
import { eventually } from './support/wait.mjs';

const RENAMES = 40;

test('behind nginx with TLS', async (t) => {
  const port = await freePort();
  const origin = `https://localhost:${port}`;
  const redisUrl = await startRedis(t);
  const settings = {
    'redis.url': redisUrl,
    // Pages and broker have one origin.
    'cors.origins': '',
    // A drain that lasts for some renames.
    'server.drain_seconds': 2,
  };
  const site = await Site.start(t, { settings, environment: { NEXTAUTH_URL: origin, TIDINGS_URL: '/api' } });
  const second = await Broker.start(t, site.brokerSettings);
  const brokers = [site.broker, second];
  await startNginx(t, port, site.appPort, brokers.map((broker) => broker.port));
  const options = { acceptInsecureCerts: true };
  const tabs = await Promise.all(
    ['ada', 'ben'].map((name) => UserBrowser.signedIn(t, site, name, '/workspaces/acme/design', options)),
  );
  const [ada, ben] = tabs;
  await Promise.all(tabs.map((tab) => tab.isLive()));

  await t.test('rename reaches a second user over HTTP/2', async () => {
    await ada.submit('.channel form', { name: 'over TLS' });
    await ben.shows('over TLS', '.channel h2');
    const protocols = await ada.run(
      'return [...new Set(performance.getEntriesByType("navigation").map((entry) => entry.nextHopProtocol))]',
    );
    assert.deepEqual(protocols, ['h2']);
    const cookies = await ada.cookieNames();
    assert.ok(cookies.includes('__Secure-next-auth.session-token'), `cookies: ${cookies}`);
  });

  await t.test('route of the broker is closed from outside', async () => {
    assert.equal(await ada.run('return (await fetch("/internal/tidings/acme")).status'), 404);
  });

  await t.test('drain of a broker during renames loses nothing', async () => {
    // The broker that has a stream to lose.
    const busy = await eventually('a broker has a stream', async () => {
      for (const broker of brokers) if ((await broker.streams()) > 0) return broker;
    });
    const before = (await logOf(site)).length;
    const names = Array.from({ length: RENAMES }, (_, round) => `drain ${round}`);
    let drained;
    for (const [round, name] of names.entries()) {
      if (round === 10) drained = busy.terminate();
      await ada.rename('design', name);
    }
    await drained;
    for (const tab of tabs) await tab.shows(names.at(-1), '.channel h2');
    await eventually('the outbox is empty', () => site.outbox().length === 0);
    assert.deepEqual((await logOf(site)).slice(before).map(({ name }) => name), names);
    await Promise.all(tabs.map((tab) => tab.isLive()));
    const [other] = brokers.filter((broker) => broker !== busy);
    await eventually('the other broker has both streams', async () => (await other.streams()) === 2);
  });
});
