// Shared connections of pages that may not use Web Locks or BroadcastChannel, with a real broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connectShared, endShared } from '../dist/tabs.js';
import { Broker } from './support/broker.mjs';
import { numbersTo } from './support/records.mjs';
import { eventually } from './support/wait.mjs';

/** Replaces a global of the platform until the test ends. */
function replaceGlobal(t, name, value) {
  const original = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    if (original) Object.defineProperty(globalThis, name, original);
    else delete globalThis[name];
  });
}

/** The locks of a page whose site data is blocked. */
const blockedLocks = {
  request: async () => {
    throw new DOMException('access to the Locks API is denied in this context', 'SecurityError');
  },
};

function open(t, broker, user = 'ann') {
  const numbers = [];
  const connection = connectShared({
    url: broker.url,
    workspace: 'acme',
    user,
    heartbeatMs: 1000,
    onEvent: ({ n }) => numbers.push(n),
  });
  t.after(() => connection.close());
  return { numbers, connection };
}

const reach = (pages, status) =>
  eventually(`all pages are ${status}`, () => pages.every(({ connection }) => connection.status === status));

test('pages that may not use locks have one stream each', async (t) => {
  const broker = await Broker.start(t);
  replaceGlobal(t, 'navigator', { locks: blockedLocks });
  let requests = 0;
  const { fetch } = globalThis;
  replaceGlobal(t, 'fetch', (target, ...rest) => {
    if (String(target).includes('/workspaces/acme/events?')) requests += 1;
    return fetch(target, ...rest);
  });
  const pages = [open(t, broker), open(t, broker), open(t, broker)];
  await reach(pages, 'live');
  for (let n = 1; n <= 20; n += 1) await broker.publish('acme', { type: 'NUMBER', n });
  for (const { numbers } of pages) {
    await eventually('the page has all events', () => numbers.length >= 20);
    assert.deepEqual(numbers, numbersTo(20));
  }
  await reach(pages, 'live');
  assert.equal(requests, pages.length);
  assert.equal(await broker.streams(), pages.length);
});

test('logout without locks ends the streams of one user', async (t) => {
  const broker = await Broker.start(t);
  replaceGlobal(t, 'navigator', {});
  const ann = [open(t, broker), open(t, broker)];
  const bob = [open(t, broker, 'bob')];
  await reach([...ann, ...bob], 'live');
  endShared('ann');
  await reach(ann, 'closed');
  await eventually('one stream remains', async () => (await broker.streams()) === 1);
  await reach(bob, 'live');
});

test('logout without BroadcastChannel ends the streams of the page', async (t) => {
  const broker = await Broker.start(t);
  replaceGlobal(t, 'navigator', { locks: blockedLocks });
  replaceGlobal(t, 'BroadcastChannel', undefined);
  const ann = [open(t, broker), open(t, broker)];
  const bob = [open(t, broker, 'bob')];
  await reach([...ann, ...bob], 'live');
  endShared('ann');
  await reach(ann, 'closed');
  await eventually('one stream remains', async () => (await broker.streams()) === 1);
  await reach(bob, 'live');
});

test('shared connection without a user is an error', () => {
  for (const user of [undefined, null, '', 17]) {
    const options = { url: 'http://broker.test/api', workspace: 'acme', user };
    assert.throws(() => connectShared(options), { name: 'TypeError', message: /`user`/ });
  }
});
