// The hooks in pages of a real browser, under StrictMode, against the real broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fetchPosition } from '../dist/live.js';
import { Broker } from './support/broker.mjs';
import { Browser } from './support/browser.mjs';
import { AppServer } from './support/react-server.mjs';
import { TcpProxy } from './support/tcp-proxy.mjs';
import { JWT } from './support/token.mjs';
import { eventually } from './support/wait.mjs';

/** An app with its backend, a broker, and a browser. */
async function prepare(t, settings = {}) {
  const app = await AppServer.start(t);
  const [browser, broker] = await Promise.all([
    Browser.start(t),
    Broker.start(t, { 'cors.origins': app.origin, ...settings }),
  ]);
  app.broker = broker.url;
  const value = (expression) => browser.run(`return ${expression}`);
  const text = (id) => value(`document.getElementById('${id}')?.textContent ?? null`);
  const shows = (id, wanted) => {
    return eventually(`#${id} is ${wanted}`, async () => (await text(id)) === wanted);
  };
  const hasStreams = (count) => {
    return eventually(`${count} streams are open`, async () => (await broker.streams()) === count);
  };
  const open = async (props) => {
    const all = { url: broker.url, workspace: 'acme', ...props };
    await browser.open(`${app.origin}/#${encodeURIComponent(JSON.stringify(all))}`);
    await eventually('the page runs', () => value('window.change !== undefined'));
  };
  const change = (props) => browser.run(`window.change(${JSON.stringify(props)})`);
  return { app, browser, broker, value, text, shows, hasStreams, open, change };
}

test('hooks under StrictMode share one connection and one load', async (t) => {
  const { app, broker, value, text, shows, hasStreams, open } = await prepare(t);
  await app.change(broker, 'acme', 1);
  await open();
  await shows('numbers', '1');
  await shows('status', 'live');
  assert.equal(await text('line'), 'live');
  await app.change(broker, 'acme', 2);
  await shows('numbers', '1 2');
  await hasStreams(1);
  assert.equal(await value('window.sources'), 1);
  assert.equal(app.loads, 1);
  assert.deepEqual(await value('seen.resets'), []);
  assert.deepEqual(await value('window.errors'), []);
});

test('further hooks join the open connection', async (t) => {
  const { app, broker, value, shows, hasStreams, open, change } = await prepare(t);
  await open();
  await shows('status', 'live');
  await app.change(broker, 'acme', 1);
  await shows('numbers', '1');
  await change({ views: 3 });
  const all = "[...document.querySelectorAll('#numbers')].map((view) => view.textContent).join()";
  await eventually('each view has the state', async () => (await value(all)) === '1,1,1');
  await app.change(broker, 'acme', 2);
  await eventually('each view has the event', async () => (await value(all)) === '1 2,1 2,1 2');
  assert.equal(app.loads, 3);
  assert.equal(await value('window.sources'), 1);
  await change({ views: 1 });
  await hasStreams(1);
  await change({ views: 0 });
  await hasStreams(0);
  await shows('line', 'closed');
  await change({ views: 1 });
  await shows('numbers', '1 2');
  await shows('line', 'live');
});

test('new handlers apply without a reconnection', async (t) => {
  const { app, broker, value, shows, open, change } = await prepare(t);
  await open();
  await shows('status', 'live');
  for (const [n, tag] of [[1, 'first'], [2, 'second'], [3, 'third']]) {
    await change({ tag });
    await shows('tag', tag);
    await app.change(broker, 'acme', n);
    await shows('numbers', [1, 2, 3].slice(0, n).join(' '));
  }
  assert.deepEqual(await value('seen.tagged'), ['first:1', 'second:2', 'third:3']);
  assert.equal(await value('window.sources'), 1);
});

test('other workspace has its own state from its first render', async (t) => {
  const { app, broker, value, shows, hasStreams, open, change } = await prepare(t);
  await app.change(broker, 'acme', 1);
  await app.change(broker, 'other', 2);
  await open();
  await shows('numbers', '1');
  await change({ workspace: 'other' });
  await shows('numbers', '2');
  await shows('line', 'live');
  await hasStreams(1);
  await app.change(broker, 'acme', 3);
  await app.change(broker, 'other', 4);
  await shows('numbers', '2 4');
  const renders = await value('seen.renders');
  assert.ok(renders.some(({ of }) => of === 'other'));
  assert.deepEqual(renders.filter(({ workspace, of }) => of !== null && of !== workspace), []);
  assert.ok(!(await value('seen.tagged')).includes('first:3'));
});

test('new headers of the provider reconnect', async (t) => {
  const { value, shows, hasStreams, open, change } = await prepare(t);
  await open();
  await shows('status', 'live');
  await change({ headers: { 'X-Requested-With': 'page' } });
  await shows('status', 'live');
  await hasStreams(1);
  // Headers need a stream over fetch.
  assert.equal(await value('window.sources'), 1);
});

test('new values of the provider keep the state', async (t) => {
  const { app, browser, broker, value, shows, hasStreams, open, change } = await prepare(t);
  await app.change(broker, 'acme', 1);
  const position = await fetchPosition({ url: broker.url, workspace: 'acme' });
  await open({ initial: { state: app.state('acme'), position } });
  await shows('status', 'live');
  await app.change(broker, 'acme', 2);
  await shows('numbers', '1 2');
  const shown = () => value('[...new Set(seen.shown.splice(0))]');
  await shown();
  // The state continues from its own position.
  await change({ headers: { 'X-Requested-With': 'page' } });
  await shows('status', 'live');
  await hasStreams(1);
  await app.change(broker, 'acme', 3);
  await shows('numbers', '1 2 3');
  assert.deepEqual(await shown(), ['1 2', '1 2 3']);
  assert.equal(app.loads, 0);
  assert.deepEqual(await value('seen.resets'), []);
  // A load that has not ended is repeated.
  app.held.state = new Promise((done) => (app.release = done));
  await browser.run("document.getElementById('reload').click()");
  await eventually('the load has begun', () => app.loads === 1);
  await change({ headers: { 'X-Requested-With': 'other' } });
  await eventually('the next load has begun', () => app.loads === 2);
  await shows('status', 'reloading');
  app.release();
  await shows('status', 'live');
  // No broker can be reached.
  await change({ url: 'http://127.0.0.1:1/api' });
  await shows('line', 'away');
  assert.deepEqual(await shown(), ['1 2 3']);
  await change({ url: broker.url });
  await app.change(broker, 'acme', 4);
  await shows('numbers', '1 2 3 4');
  await shows('status', 'live');
  assert.deepEqual(await shown(), ['1 2 3', '1 2 3 4']);
});

test('component that leaves while it connects leaves nothing', async (t) => {
  const { app, broker, value, shows, hasStreams, open, change } = await prepare(t);
  const proxy = await TcpProxy.start(t, broker.port);
  proxy.holdBodies();
  await open({ url: proxy.url, views: 0 });
  // The response to the request for the position never ends.
  await change({ views: 1 });
  await eventually('the page asks for the position', () => proxy.requests === 1);
  await change({ views: 0 });
  await change({ url: broker.url });
  app.held.state = new Promise((done) => (app.release = done));
  await change({ views: 1 });
  await eventually('the load has begun', () => app.loads === 1);
  await hasStreams(1);
  await change({ views: 0 });
  await hasStreams(0);
  app.release();
  await shows('line', 'closed');
  assert.equal(await value('seen.renders.at(-1).of'), null);
  assert.deepEqual(await value('window.errors'), []);
  assert.deepEqual(await value('seen.warnings'), []);
});

test('render that never reaches the page opens no connection', async (t) => {
  const { app, broker, browser, value, shows, open } = await prepare(t);
  const proxy = await TcpProxy.start(t, broker.port);
  await app.change(broker, 'acme', 1);
  await open({ url: proxy.url });
  await shows('status', 'live');
  const requests = proxy.requests;
  await browser.run("window.transition({ workspace: 'other', held: new Promise(() => undefined) })");
  await eventually('the transition has rendered', () => {
    return value("seen.renders.some(({ workspace }) => workspace === 'other')");
  });
  await app.change(broker, 'acme', 2);
  await shows('numbers', '1 2');
  assert.equal(proxy.requests, requests);
  await browser.run("window.change({ workspace: 'acme', held: undefined })");
  await app.change(broker, 'acme', 3);
  await shows('numbers', '1 2 3');
  assert.equal(proxy.requests, requests);
  assert.equal(await value('window.sources'), 1);
});

test('page survives a killed broker that forgets its log', async (t) => {
  const { app, broker, value, shows, open } = await prepare(t, { 'embedded.path': '' });
  await app.change(broker, 'acme', 1);
  await open();
  await shows('status', 'live');
  await broker.kill();
  await shows('line', 'away');
  app.numbers['acme'].push(2);
  await broker.restart();
  await shows('numbers', '1 2');
  await shows('status', 'live');
  assert.equal((await value('seen.resets')).length, 1);
  const reloading = (await value('seen.renders')).filter(({ status }) => status === 'reloading');
  assert.ok(reloading.length > 0 && reloading.every(({ of }) => of === 'acme'));
});

test('page shows the reason of a denial', async (t) => {
  const { shows, open } = await prepare(t, JWT);
  await open();
  await shows('status', 'denied: unauthenticated');
});

test('page continues from what the server has rendered', async (t) => {
  const { app, browser, broker, value, text, shows, hasStreams } = await prepare(t);
  await app.change(broker, 'acme', 1);
  app.held.script = new Promise((done) => (app.release = done));
  // The page is complete once its script has run.
  const opened = browser.open(`${app.origin}/rendered?workspace=acme`);
  await eventually('the page asks for its script', () => app.scripts === 1);
  await app.change(broker, 'acme', 2);
  app.release();
  await opened;
  await shows('numbers', '1 2');
  await shows('status', 'live');
  await hasStreams(1);
  assert.equal(app.loads, 0);
  assert.deepEqual(await value('window.errors'), []);
  const [first] = await value('seen.renders');
  assert.deepEqual(first, { workspace: 'acme', of: 'acme', status: 'connecting' });
  assert.equal(await text('line'), 'live');
});
