// The client in a page of a real browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { Browser, servePage } from './support/browser.mjs';
import { sendOnlyComments, startForeignServer } from './support/foreign-server.mjs';
import { NumberedPublisher, numbersTo } from './support/records.mjs';
import { TcpProxy } from './support/tcp-proxy.mjs';
import { timedTest } from './support/timed.mjs';
import { JWT, bearer, token } from './support/token.mjs';
import { eventually, sleep } from './support/wait.mjs';

/** A page, and a broker that it may use. */
async function prepare(t, settings = {}) {
  const page = await servePage(t);
  const [browser, broker] = await Promise.all([
    Browser.start(t),
    Broker.start(t, { 'cors.origins': page.origin, ...settings }),
  ]);
  const value = (expression) => browser.run(`return ${expression}`);
  const reaches = (status) => {
    return eventually(`the status is ${status}`, async () => (await value('connection.status')) === status);
  };
  const has = (count) => {
    return eventually(`${count} events arrive`, async () => (await value('seen.numbers.length')) >= count);
  };
  const open = async (options) => {
    await browser.open(page.address({ url: broker.url, ...options }));
    await eventually('the page runs', () => value('window.connection !== undefined'));
  };
  return { browser, broker, value, reaches, has, open };
}

for (const [transport, options, settings] of [
  ['EventSource', {}, {}],
  ['fetch', { token: token() }, JWT],
  ['XMLHttpRequest', { token: token(), xhr: true }, JWT],
]) {
  test(`page over ${transport} survives a killed and a drained broker`, async (t) => {
    const { broker, value, reaches, has, open } = await prepare(t, settings);
    await open(options);
    await reaches('live');
    assert.equal(await value('sources.length'), transport === 'EventSource' ? 1 : 0);
    const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()) });
    for (const end of ['kill', 'terminate']) {
      await has((await value('seen.numbers.length')) + 20);
      await broker[end]();
      await reaches('away');
      await broker.restart();
      await reaches('live');
    }
    const count = await publisher.stop();
    await has(count);
    assert.deepEqual(await value('seen.numbers'), numbersTo(count));
    assert.deepEqual(await value('seen.resets'), []);
    assert.deepEqual(await value('seen.warnings'), []);
  });
}

test('page learns the reason of a denial that an EventSource hides', async (t) => {
  const { reaches, value, open } = await prepare(t, JWT);
  await open();
  await reaches('denied');
  assert.equal((await value('seen.statuses')).at(-1), 'denied: unauthenticated');
  assert.equal(await value('connection.error.check'), 'credentials');
});

test('page over XMLHttpRequest learns the reason of a denial', async (t) => {
  const { broker, reaches, value, open } = await prepare(t, JWT);
  await open({ token: token(), xhr: true });
  await reaches('live');
  await broker.publishOnBus('tidings:control', JSON.stringify({ disconnect: { user: 'ann', for: 60 } }));
  await reaches('denied');
  assert.deepEqual(await value('seen.statuses'), ['live', 'away', 'denied: disconnected']);
});

test('worker survives a killed broker', async (t) => {
  const { broker, value, reaches, has, open } = await prepare(t);
  await open({ worker: true });
  await reaches('live');
  const publisher = new NumberedPublisher(t, broker);
  await has(20);
  await broker.kill();
  await reaches('away');
  await broker.restart();
  await reaches('live');
  const count = await publisher.stop();
  await has(count);
  assert.deepEqual(await value('seen.numbers'), numbersTo(count));
});

test('cached page gives its stream up and resumes', async (t) => {
  const { browser, broker, value, reaches, has, open } = await prepare(t);
  await open();
  await reaches('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await has(1);
  await browser.open('about:blank');
  await eventually('the stream is closed', async () => (await broker.streams()) === 0);
  await broker.publish('acme', { type: 'NUMBER', n: 2 });
  await eventually('the page is shown again', async () => {
    await browser.run("if (location.href === 'about:blank') history.back()");
    return (await value('window.seen?.shown.at(-1) ?? null')) === true;
  });
  await has(2);
  await reaches('live');
  assert.deepEqual(await value('seen.numbers'), [1, 2]);
  assert.deepEqual(await value('seen.resets'), []);
});

timedTest('page whose network returns reconnects within 2 s', async (t) => {
  const { browser, broker, value, reaches, has, open } = await prepare(t);
  const proxy = await TcpProxy.start(t, broker.port);
  // The watchdog alone would need 150 s.
  await open({ url: proxy.url, heartbeatMs: 60_000 });
  await reaches('live');
  proxy.stall();
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  const network = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
  await browser.devTools('Network.enable');
  await browser.devTools('Network.emulateNetworkConditions', { offline: true, ...network });
  await browser.devTools('Network.emulateNetworkConditions', { offline: false, ...network });
  const onlineAt = Date.now();
  await has(1);
  assert.ok(Date.now() - onlineAt < 2_000, `${Date.now() - onlineAt} ms`);
  assert.deepEqual(await value('seen.numbers'), [1]);
});

timedTest('page that was frozen resumes within 2 s', async (t) => {
  const { browser, broker, reaches, value, open } = await prepare(t);
  const proxy = await TcpProxy.start(t, broker.port);
  await open({ url: proxy.url });
  await reaches('live');
  await browser.devTools('Page.enable');
  await browser.devTools('Page.setWebLifecycleState', { state: 'frozen' });
  proxy.stall();
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await new Promise((done) => setTimeout(done, 6_000));
  await browser.devTools('Page.setWebLifecycleState', { state: 'active' });
  const activeAt = Date.now();
  await eventually('the event arrives', async () => (await value('seen.numbers.length')) === 1);
  assert.ok(Date.now() - activeAt < 2_000, `${Date.now() - activeAt} ms`);
  await reaches('live');
});

timedTest('page whose timers were delayed keeps a stream with heartbeats', async (t) => {
  const { browser, broker, value, reaches, open } = await prepare(t, { 'sse.heartbeat_seconds': 3 });
  const proxy = await TcpProxy.start(t, broker.port);
  // A browser delays the timers of a page that is hidden for minutes, and events arrive.
  const source = `
    window.isAway = false;
    Object.defineProperty(document, 'hidden', { get: () => isAway });
    const start = window.setInterval.bind(window);
    window.setInterval = (run, ms) => start(() => isAway || run(), ms);
    window.show = (isShown) => {
      isAway = !isShown;
      document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
    };
  `;
  await browser.devTools('Page.addScriptToEvaluateOnNewDocument', { source });
  await open({ url: proxy.url });
  await reaches('live');
  await browser.run('show(false)');
  await sleep(8_000);
  await browser.run('show(true)');
  await sleep(1_000);
  assert.equal(proxy.requests, 1);
  assert.deepEqual(await value('seen.statuses'), ['live']);
  // Without heartbeats it reconnects at once.
  await browser.run('show(false)');
  proxy.stall();
  await sleep(8_000);
  await browser.run('show(true)');
  const shownAt = Date.now();
  await eventually('the stream is replaced', () => proxy.requests === 2);
  assert.ok(Date.now() - shownAt < 2_000, `${Date.now() - shownAt} ms`);
  await reaches('live');
});

test('page over EventSource names a proxy that passes comments alone', async (t) => {
  const { value, open } = await prepare(t);
  const url = await startForeignServer(t, sendOnlyComments);
  await open({ url, heartbeatMs: 4_000 });
  await eventually('the page warns', async () => (await value('seen.warnings.length')) === 1);
  assert.match(await value('seen.warnings[0]'), /buffer/);
  assert.equal(await value('sources.length'), 1);
});

test('nine pages in a row all become live', async (t) => {
  // The back/forward cache of a browser would keep six connections of earlier pages.
  const { browser, broker, value, reaches, open } = await prepare(t);
  for (let page = 1; page <= 9; page += 1) {
    await open({ page });
    await reaches('live');
    if (page < 9) await browser.open('about:blank');
  }
  await eventually('one stream is open', async () => (await broker.streams()) === 1);
  assert.deepEqual(await value('seen.warnings'), []);
});
