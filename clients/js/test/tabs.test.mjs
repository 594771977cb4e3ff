// One stream for all tabs, in a real browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NumberedPublisher } from './support/records.mjs';
import { startSchemasProxy } from './support/schemas-proxy.mjs';
import { Tabs } from './support/tabs.mjs';
import { JWT, bearer, token } from './support/token.mjs';
import { eventually } from './support/wait.mjs';

test('tab that joins catches up from its own position', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  const first = await tabs.open();
  await tabs.reach('live');
  const ids = [];
  for (let n = 1; n <= 5; n += 1) ids.push(await broker.publish('acme', { type: 'NUMBER', n }));
  await tabs.have(5);
  const second = await tabs.open({ position: ids[1] });
  await tabs.until(second, 'seen.numbers.length === 3');
  const third = await tabs.open();
  await tabs.reach('live');
  await tabs.hasStreams(1);
  await broker.publish('acme', { type: 'NUMBER', n: 6 });
  await tabs.have(6, [first]);
  await tabs.until(third, 'seen.numbers.length > 0');
  await tabs.until(second, 'seen.numbers.length > 3');
  assert.deepEqual(await tabs.value(second, 'seen.numbers'), [3, 4, 5, 6]);
  assert.deepEqual(await tabs.value(third, 'seen.numbers'), [6]);
  for (const name of tabs.names) {
    assert.equal(await tabs.value(name, 'connection.position'), await tabs.value(first, 'connection.position'));
  }
});

test('tab with a filter that joins during publications misses nothing', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  const position = await broker.publish('acme', { type: 'NUMBER', n: 0 });
  const options = { types: ['NUMBER'], position };
  await tabs.open(options);
  const publisher = new NumberedPublisher(t, broker);
  await eventually('some events are published', () => publisher.count > 10);
  await broker.publish('acme', { type: 'OTHER' });
  await tabs.open(options);
  await tabs.open(options);
  await broker.publish('acme', { type: 'OTHER' });
  const count = await publisher.stop();
  await broker.publish('acme', { type: 'OTHER' });
  await tabs.have(count);
  await tabs.hasStreams(1);
});

test('tabs with a filter merge while other events arrive', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { broker } = tabs;
  const position = await broker.publish('acme', { type: 'NUMBER', n: 0 });
  const others = new NumberedPublisher(t, broker, { type: 'OTHER', pauseMs: 0 });
  for (let n = 1; n <= 5; n += 1) await broker.publish('acme', { type: 'NUMBER', n });
  for (let tab = 0; tab < 5; tab += 1) await tabs.open({ types: ['NUMBER'], position });
  await tabs.have(5);
  await tabs.hasStreams(1);
  await broker.publish('acme', { type: 'NUMBER', n: 6 });
  await tabs.have(6);
  await others.stop();
  await tabs.hasStreams(1);
});

for (const [name, options] of [['fetch', {}], ['XMLHttpRequest', { xhr: true }]]) {
  test(`each tab has the traces of events over ${name}`, async (t) => {
    const tabs = await Tabs.prepare(t, { 'tracing.in_streams': true });
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const publish = (n, headers) => tabs.broker.publish('acme', { type: 'NUMBER', n }, headers);
    const all = { traces: true, ...options };
    await tabs.open(all);
    await tabs.open(all);
    await tabs.reach('live');
    await tabs.hasStreams(1);
    await publish(1, { traceparent });
    const position = await publish(2);
    await publish(3, { traceparent });
    await tabs.have(3);
    const expected = [traceparent, null, traceparent];
    for (const tab of tabs.names) assert.deepEqual(await tabs.value(tab, 'seen.traces'), expected);
    const late = await tabs.open({ ...all, position });
    await tabs.until(late, 'seen.numbers.length === 1');
    assert.deepEqual(await tabs.value(late, 'seen.traces'), [traceparent]);
  });
}

test('users never share, and a logout ends all tabs of one', async (t) => {
  const tabs = await Tabs.prepare(t);
  const ann = [await tabs.open(), await tabs.open()];
  const bob = [await tabs.open({ user: 'bob' }), await tabs.open({ user: 'bob' })];
  await tabs.reach('live');
  await tabs.hasStreams(2);
  await tabs.run(bob[1], "endShared('ann')");
  await tabs.reach('closed', ann);
  await tabs.hasStreams(1);
  await tabs.broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1, bob);
  await tabs.have(0, ann);
});

test('denial reaches all tabs with its reason', async (t) => {
  const tabs = await Tabs.prepare(t, JWT);
  await tabs.open({ token: token() });
  await tabs.open({ token: token() });
  await tabs.reach('live');
  const command = JSON.stringify({ disconnect: { user: 'ann', for: 60 } });
  await tabs.broker.publishOnBus('tidings:control', command);
  await tabs.reach('denied');
  for (const name of tabs.names) {
    assert.equal((await tabs.value(name, 'seen.statuses')).at(-1), 'denied: disconnected');
    assert.equal(await tabs.value(name, 'connection.error.status'), 403);
  }
  await tabs.hasStreams(0);
});

test('leader renews the token of all tabs', async (t) => {
  let calls = 0;
  const getToken = () => token({ seconds: (calls += 1) === 1 ? 9 : 600 });
  const tabs = await Tabs.prepare(t, JWT, { getToken });
  for (let tab = 0; tab < 3; tab += 1) await tabs.open({ tokens: true });
  await tabs.reach('live');
  const publisher = new NumberedPublisher(t, tabs.broker, { headers: bearer(token()) });
  await eventually('the token is renewed', () => calls >= 2);
  await tabs.hasStreams(1);
  const count = await publisher.stop();
  await tabs.have(count);
  assert.ok(calls <= 3, `${calls} tokens for three tabs`);
});

test('without Web Locks each tab has its own stream', async (t) => {
  const tabs = await Tabs.prepare(t);
  const first = await tabs.open({ without: 'locks' });
  await tabs.open({ without: 'locks' });
  await tabs.open({ without: 'locks', user: 'bob' });
  await tabs.reach('live');
  await tabs.hasStreams(3);
  await tabs.run(first, "endShared('ann')");
  await tabs.reach('closed', tabs.names.slice(0, 2));
  await tabs.hasStreams(1);
});

test('only outdated tabs learn the version of the schemas', async (t) => {
  const tabs = await Tabs.prepare(t);
  const { url } = await startSchemasProxy(t, tabs.broker, 'new');
  const versions = { new: [], old: ['new'], older: ['new'] };
  for (const schemas of Object.keys(versions)) await tabs.open({ url, schemas });
  await tabs.reach('live');
  await tabs.hasStreams(1);
  for (const [index, expected] of Object.values(versions).entries()) {
    assert.deepEqual(await tabs.value(tabs.names[index], 'seen.versions'), expected);
  }
});

test('message of an earlier leader is ignored', async (t) => {
  const tabs = await Tabs.prepare(t);
  const earlier = await tabs.open();
  await tabs.open();
  await tabs.reach('live');
  await tabs.run(
    earlier,
    `const item = { payload: '{"type":"NUMBER","n":99}', id: '1-0' };
    const message = { term: 1, count: 1, position: '1-0', status: 'away', item };
    navigator.locks.query().then(({ held }) => new BroadcastChannel(held[0].name).postMessage(message));`,
  );
  await tabs.broker.publish('acme', { type: 'NUMBER', n: 1 });
  await tabs.have(1);
  await tabs.reach('live');
});
