// State and stream without a gap, against the real broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DeniedError } from '../dist/index.js';
import { fetchPosition, live } from '../dist/live.js';
import { Broker } from './support/broker.mjs';
import { Database, applyNumber } from './support/database.mjs';
import { numbersTo } from './support/records.mjs';
import { TcpProxy } from './support/tcp-proxy.mjs';
import { JWT, bearer, token } from './support/token.mjs';
import { eventually, sleep } from './support/wait.mjs';

/** Follows the state of a database. It ends with the test. */
function follow(test, database, options) {
  const follower = { snapshots: [], warnings: [] };
  follower.live = live({
    workspace: 'acme',
    heartbeatMs: 1000,
    load: database.load,
    apply: applyNumber,
    onChange: (snapshot) => follower.snapshots.push(snapshot),
    onWarning: (text) => follower.warnings.push(text),
    ...options,
  });
  test.after(() => follower.live.close());
  follower.statuses = () => follower.snapshots.map(({ status }) => status);
  follower.reaches = (status) => {
    return eventually(`the status is ${status} after ${follower.statuses()}`, () => follower.live.status === status);
  };
  follower.has = (count) => eventually(`the state has ${count} numbers`, () => {
    return follower.live.state?.numbers.size >= count;
  });
  follower.numbers = () => [...follower.live.state.numbers].sort((a, b) => a - b);
  return follower;
}

/** Whether no event reached a state twice since its load. */
const hasNoDouble = ({ state }) => !state || new Set(state.applied).size === state.applied.length;

test('state has the load and the events after it', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  await database.change(broker, 1);
  const follower = follow(t, database, { url: broker.url });
  assert.equal(follower.live.status, 'loading');
  assert.equal(follower.live.state, undefined);
  await follower.reaches('live');
  assert.deepEqual(follower.numbers(), [1]);
  await database.change(broker, 2);
  await follower.has(2);
  assert.deepEqual(follower.live.state.applied, [2]);
  assert.equal(database.loads, 1);
});

test('event between the position and the stream reaches the state', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  let isPublished = false;
  const follower = follow(t, database, {
    url: broker.url,
    async load(context) {
      const loaded = await database.load(context);
      await database.change(broker, 1);
      isPublished = true;
      return loaded;
    },
  });
  await follower.has(1);
  assert.ok(isPublished);
  await follower.reaches('live');
  assert.deepEqual(follower.live.state.applied, [1]);
});

test('state that the server loaded continues from its position', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  const position = await fetchPosition({ url: broker.url, workspace: 'acme' });
  const initial = { state: { numbers: new Set(), applied: [] }, position };
  await database.change(broker, 1);
  const follower = follow(t, database, { url: broker.url, initial });
  assert.equal(follower.live.state, initial.state);
  assert.equal(follower.live.status, 'connecting');
  await follower.has(1);
  await follower.reaches('live');
  assert.equal(database.loads, 0);
});

test('reset loads again while the old state is visible', async (t) => {
  const broker = await Broker.start(t, { 'embedded.path': '' });
  const database = new Database();
  await database.change(broker, 1);
  const follower = follow(t, database, { url: broker.url });
  await follower.reaches('live');
  database.loadMs = 50;
  // The broker forgets its log, and with it this event.
  database.numbers.add(2);
  await broker.kill();
  await follower.reaches('away');
  await broker.restart();
  await follower.has(2);
  const reloading = follower.snapshots.find(({ status }) => status === 'reloading');
  assert.deepEqual([...reloading.state.numbers], [1]);
  await follower.reaches('live');
  await database.change(broker, 3);
  await follower.has(3);
  assert.deepEqual(follower.numbers(), [1, 2, 3]);
});

test('load that fails is tried again', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  database.failures = 1;
  const follower = follow(t, database, { url: broker.url });
  await eventually('the load has failed', () => follower.warnings.length === 1);
  assert.match(follower.warnings[0], /load failed: Error: the database is away/);
  await database.change(broker, 1);
  await follower.has(1);
  await follower.reaches('live');
  assert.equal(database.loads, 2);
});

test('state is loaded without a broker and again with one', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  database.numbers.add(1);
  await broker.kill();
  const follower = follow(t, database, { url: broker.url });
  await follower.has(1);
  assert.equal(follower.live.status, 'away');
  assert.deepEqual(database.positions, [undefined]);
  database.numbers.add(2);
  await broker.restart();
  await follower.has(2);
  await follower.reaches('live');
  assert.equal(database.loads, 2);
});

test('refused position ends it with the reason', async (t) => {
  const broker = await Broker.start(t, JWT);
  const database = new Database();
  const auth = async () => token({ workspaces: ['other'] });
  const follower = follow(t, database, { url: broker.url, auth });
  await follower.reaches('denied');
  assert.ok(follower.live.error instanceof DeniedError);
  assert.equal(follower.live.error.check, 'subscribe');
  assert.equal(follower.snapshots.at(-1).error, follower.live.error);
  assert.equal(database.loads, 0);
  assert.equal(await broker.streams(), 0);
});

test('denial by the load ends it with the reason', async (t) => {
  const broker = await Broker.start(t);
  const load = async () => {
    throw new DeniedError('you are no member', { reason: 'no-member' });
  };
  const follower = follow(t, new Database(), { url: broker.url, load });
  await follower.reaches('denied');
  assert.equal(follower.live.error.reason, 'no-member');
  await eventually('the stream is closed', async () => (await broker.streams()) === 0);
});

test('event that apply rejects makes it load again', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  const follower = follow(t, database, {
    url: broker.url,
    apply(state, event) {
      if (event.n === 1) throw new Error('no such channel');
      return applyNumber(state, event);
    },
  });
  await follower.reaches('live');
  await database.change(broker, 1);
  await follower.has(1);
  assert.match(follower.warnings[0], /apply failed: Error: no such channel/);
  assert.equal(database.loads, 2);
});

test('types reach the broker as a filter', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  const follower = follow(t, database, { url: broker.url, types: ['NUMBER'] });
  await follower.reaches('live');
  await broker.publish('acme', { type: 'OTHER', n: 7 });
  await database.change(broker, 1);
  await follower.has(1);
  assert.deepEqual(follower.live.state.applied, [1]);
});

test('closed join calls no function any more', async (t) => {
  const broker = await Broker.start(t);
  const database = new Database();
  database.loadMs = 50;
  const follower = follow(t, database, { url: broker.url });
  await eventually('the load has begun', () => database.loads === 1);
  follower.live.close();
  assert.equal(follower.live.status, 'closed');
  const { length } = follower.snapshots;
  follower.live.reload();
  await database.change(broker, 1);
  await eventually('the stream is closed', async () => (await broker.streams()) === 0);
  assert.equal(follower.snapshots.length, length);
  assert.equal(database.loads, 1);
});

test('position asks for a new token once', async (t) => {
  const broker = await Broker.start(t, JWT);
  let calls = 0;
  const auth = async () => token({ seconds: (calls += 1) === 1 ? -60 : 600 });
  assert.match(await fetchPosition({ url: broker.url, workspace: 'acme', auth }), /^0-0\./);
  assert.equal(calls, 2);
  const ended = async () => token({ seconds: -60 });
  const refused = fetchPosition({ url: broker.url, workspace: 'acme', auth: ended });
  await assert.rejects(refused, (error) => error instanceof DeniedError && error.check === 'expiry');
});

test('position takes a ticket and does not use it up', async (t) => {
  const broker = await Broker.start(t, JWT);
  const body = JSON.stringify({ workspace: 'acme' });
  const response = await fetch(`${broker.url}/tickets`, { method: 'POST', headers: bearer(token()), body });
  const { ticket } = await response.json();
  const auth = () => ({ ticket });
  const database = new Database();
  const follower = follow(t, database, { url: broker.url, auth });
  await follower.reaches('live');
});

test('position ends with its signal', async (t) => {
  const broker = await Broker.start(t);
  const aborted = AbortSignal.abort(new Error('left'));
  const request = fetchPosition({ url: broker.url, workspace: 'acme', signal: aborted });
  await assert.rejects(request, /left/);
  const proxy = await TcpProxy.start(t, broker.port);
  proxy.stallNext();
  const controller = new AbortController();
  const stalled = fetchPosition({ url: proxy.url, workspace: 'acme', signal: controller.signal });
  controller.abort(new Error('left'));
  await assert.rejects(stalled, /left/);
});

test('platform without newer functions has a state and its events', async (t) => {
  const missing = [
    [AbortSignal.prototype, 'throwIfAborted'],
    [AbortSignal, 'any'],
    [AbortSignal, 'timeout'],
    [Promise, 'withResolvers'],
    [globalThis, 'structuredClone'],
    [globalThis, 'atob'],
  ];
  for (const [owner, name] of missing) {
    const property = Object.getOwnPropertyDescriptor(owner, name);
    if (!property) continue;
    delete owner[name];
    t.after(() => Object.defineProperty(owner, name, property));
  }
  const broker = await Broker.start(t, JWT);
  let numbers = 0;
  const options = { url: broker.url, workspace: 'acme', auth: async () => token() };
  const state = live({ ...options, load: () => numbers, apply: (count) => count + 1 });
  t.after(() => state.close());
  await eventually('it is live', () => state.status === 'live');
  await broker.publish('acme', { type: 'NUMBER' }, bearer(token()));
  await eventually('the event is applied', () => state.state === 1);
  // The signals of React Native have no reason either.
  const signal = Object.assign(new EventTarget(), { aborted: true });
  await assert.rejects(fetchPosition({ ...options, signal }));
});

test('several hundred events among loads, ends and resets lose nothing', async (t) => {
  // A log of few events: a stream that resumes late gets a reset.
  const broker = await Broker.start(t, { 'retention.events': 20, 'ring.events': 20 });
  const proxy = await TcpProxy.start(t, broker.port);
  const database = new Database();
  database.loadMs = 40;
  const followers = Array.from({ length: 4 }, () => follow(t, database, { url: proxy.url }));
  const joined = [];
  let count = 0;
  for (let round = 0; round < 12; round += 1) {
    const changes = Array.from({ length: 40 }, async () => {
      await sleep(Math.random() * 200);
      count += 1;
      await database.change(broker, count);
    });
    joined.push(follow(t, database, { url: proxy.url }));
    if (round % 3 === 0) proxy.cut();
    if (round % 4 === 1) followers[0].live.reload();
    if (round % 5 === 2) database.failures = 2;
    if (round === 6) await broker.kill();
    if (round === 6) await broker.restart();
    await Promise.all(changes);
  }
  const all = [...followers, ...joined];
  for (const follower of all) {
    await follower.has(count);
    await follower.reaches('live');
    assert.deepEqual(follower.numbers(), numbersTo(count));
    assert.ok(follower.snapshots.every(hasNoDouble));
  }
  const reloads = all.flatMap((follower) => follower.statuses()).filter((status) => status === 'reloading');
  t.diagnostic(`${count} events, ${database.loads} loads, ${reloads.length} times a reload`);
  assert.ok(database.loads > all.length);
});
