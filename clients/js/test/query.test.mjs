// Invalidation of queries by events, with the real TanStack Query and the real broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { QueryClient, QueryObserver } from '@tanstack/react-query';

import { connect } from '../dist/index.js';
import { createInvalidator } from '../dist/query.js';
import { Broker } from './support/broker.mjs';
import { Browser } from './support/browser.mjs';
import { AppServer } from './support/react-server.mjs';
import { eventually, sleep } from './support/wait.mjs';

/** A query on the page: it has the value of a source, and counts its fetches. */
function observe(t, client, queryKey, source) {
  const query = { fetches: 0 };
  const observer = new QueryObserver(client, {
    queryKey,
    retry: false,
    staleTime: Infinity,
    async queryFn() {
      query.fetches += 1;
      return source();
    },
  });
  t.after(observer.subscribe(({ data }) => (query.data = data)));
  return query;
}

function newClient(t) {
  const client = new QueryClient();
  client.mount();
  t.after(() => {
    client.unmount();
    client.clear();
  });
  return client;
}

test('events invalidate the queries of their type', async (t) => {
  const broker = await Broker.start(t);
  const client = newClient(t);
  const names = { a: 1, b: 1, list: 1 };
  const queries = Object.keys(names).map((name) => observe(t, client, ['channels', name], () => names[name]));
  const [a, b, list] = queries;
  await eventually('all have data', () => queries.every(({ data }) => data === 1));
  const invalidator = createInvalidator(client, {
    CHANNEL_UPDATED: ({ channelId }) => [['channels', channelId]],
    CHANNEL_DELETED: [['channels', 'list']],
  });
  const connection = connect({ url: broker.url, workspace: 'acme', ...invalidator });
  t.after(() => connection.close());
  await eventually('the connection is live', () => connection.status === 'live');
  names.a = 2;
  await broker.publish('acme', { type: 'CHANNEL_UPDATED', channelId: 'a' });
  await eventually('a is loaded again', () => a.data === 2);
  names.list = 2;
  await broker.publish('acme', { type: 'CHANNEL_DELETED' });
  await broker.publish('acme', { type: 'toString' });
  await eventually('the list is loaded again', () => list.data === 2);
  assert.deepEqual([a.fetches, b.fetches, list.fetches], [2, 1, 2]);
});

test('flood of events is one invalidation a window and ends with the last state', async (t) => {
  const client = newClient(t);
  let published = 0;
  const query = observe(t, client, ['count'], () => published);
  await eventually('the query has data', () => query.data === 0);
  const { onEvent } = createInvalidator(client, { COUNT: [['count']] }, { windowMs: 100 });
  const begun = performance.now();
  while (performance.now() - begun < 1_000) {
    published += 1;
    onEvent({ type: 'COUNT' });
    if (published % 100 === 0) await sleep(1);
  }
  const windows = Math.ceil((performance.now() - begun) / 100);
  assert.ok(query.fetches > 1, 'the flood starves the query');
  await eventually('the query has the last state', () => query.data === published);
  assert.ok(query.fetches <= windows + 2, `${query.fetches} fetches in ${windows} windows`);
  assert.ok(published > 10 * windows);
});

test('query that takes longer than a window is not starved', async (t) => {
  const client = newClient(t);
  let published = 0;
  const seen = new Set();
  const query = observe(t, client, ['count'], async () => {
    const read = published;
    await sleep(60);
    return read;
  });
  await eventually('the query has data', () => query.data === 0);
  const quick = observe(t, client, ['quick'], () => published);
  const { onEvent } = createInvalidator(client, { COUNT: [['count'], ['quick']] }, { windowMs: 5 });
  await eventually('the query has further states during the flood', async () => {
    published += 1;
    onEvent({ type: 'COUNT' });
    return seen.add(query.data).size > 3;
  });
  await eventually('the query has the last state', () => query.data === published);
  assert.ok(quick.fetches > query.fetches, `${quick.fetches} quick, ${query.fetches} slow`);
});

test('event during the first fetch is not lost', async (t) => {
  for (const isActive of [true, false]) {
    const client = newClient(t);
    let value = 'old';
    let release;
    const held = new Promise((done) => (release = done));
    const queryKey = ['value'];
    const source = async () => {
      const read = value;
      await held;
      return read;
    };
    const query = isActive ? observe(t, client, queryKey, source) : undefined;
    if (!isActive) void client.prefetchQuery({ queryKey, queryFn: source });
    const { onEvent } = createInvalidator(client, { CHANGED: [queryKey] }, { windowMs: 1 });
    await eventually('the fetch has begun', () => client.isFetching() === 1);
    value = 'new';
    onEvent({ type: 'CHANGED' });
    await sleep(50);
    release();
    const state = () => client.getQueryState(queryKey);
    if (query) await eventually('the new value is there', () => query.data === 'new');
    else await eventually('the data is marked as old', () => state().data === 'old' && state().isInvalidated);
  }
});

test('reset invalidates the keys of the map', async (t) => {
  const client = newClient(t);
  const [a, b, other] = ['a', 'b', 'other'].map((name) => observe(t, client, [name], () => name));
  await eventually('all have data', () => a.data && b.data && other.data);
  createInvalidator(client, { A: [['a']], B: [['b']] }).onReset();
  await eventually('both are loaded again', () => a.fetches === 2 && b.fetches === 2);
  assert.equal(other.fetches, 1);
  // The keys of a function are not known.
  createInvalidator(client, { A: ({ id }) => [[id]] }).onReset();
  await eventually('all are loaded again', () => [a, b, other].map(({ fetches }) => fetches).join() === '3,3,2');
  createInvalidator(client, { A: ({ id }) => [[id]] }, { resetKeys: [['b']] }).onReset();
  await eventually('b is loaded again', () => b.fetches === 4);
  assert.deepEqual([a.fetches, other.fetches], [3, 2]);
});

test('more keys than wait become an invalidation of all queries', async (t) => {
  const client = newClient(t);
  const query = observe(t, client, ['other'], () => 1);
  await eventually('the query has data', () => query.data === 1);
  const { onEvent } = createInvalidator(client, { A: ({ id }) => [['a', id]] });
  for (let id = 0; id < 1_000; id += 1) onEvent({ type: 'A', id });
  await sleep(300);
  assert.equal(query.fetches, 1);
  for (let id = 0; id < 1_001; id += 1) onEvent({ type: 'A', id });
  await eventually('the query is loaded again', () => query.fetches === 2);
});

test('hook loads again after the first connection, an event and a reset', async (t) => {
  const app = await AppServer.start(t, 'query-page.jsx');
  const [browser, broker] = await Promise.all([
    Browser.start(t),
    Broker.start(t, { 'cors.origins': app.origin, 'embedded.path': '' }),
  ]);
  const text = (id) => browser.run(`return document.getElementById('${id}')?.textContent ?? null`);
  const shows = (id, wanted) => {
    return eventually(`#${id} is ${wanted}`, async () => (await text(id)) === wanted);
  };
  app.numbers['acme'] = [1];
  await browser.open(`${app.origin}/#${encodeURIComponent(JSON.stringify({ url: broker.url, workspace: 'acme' }))}`);
  await shows('status', 'live');
  await eventually('the first connection counts as a reset', () => app.loads === 2);
  await app.change(broker, 'acme', 2);
  await shows('numbers', '1 2');
  await broker.kill();
  await shows('status', 'away');
  app.numbers['acme'].push(3);
  await broker.restart();
  await shows('numbers', '1 2 3');
  assert.equal(await broker.streams(), 1);
});
