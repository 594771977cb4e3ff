// Events, positions and the end of a connection, against a broker without faults.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

import { fetchPosition, live } from '../dist/live.js';
import { Broker } from './support/broker.mjs';
import { record, numbersTo } from './support/records.mjs';
import { eventually } from './support/wait.mjs';

test('event reaches its handler with its id', async (t) => {
  const broker = await Broker.start(t);
  const named = [];
  const events = { CHANNEL_UPDATED: (event, id) => named.push([event.name, id]) };
  const client = record(t, { url: broker.url, events });
  await client.reaches('live');
  const id = await broker.publish('acme', { type: 'CHANNEL_UPDATED', name: 'größer 🎉' });
  await broker.publish('acme', { type: 'CHANNEL_DELETED' });
  await broker.publish('acme', { type: 'toString' });
  await client.has(2);
  assert.deepEqual(named, [['größer 🎉', id]]);
  assert.deepEqual(client.events.map((event) => event.type), ['CHANNEL_DELETED', 'toString']);
  assert.equal(client.connection.position, client.events[1].id);
  assert.deepEqual(client.statuses, ['live']);
  assert.deepEqual(client.warnings, []);
});

test('connection that is live has a position to resume from', async (t) => {
  const broker = await Broker.start(t);
  const positions = [];
  const onStatus = () => positions.push(first.connection.position);
  const first = record(t, { url: broker.url, onStatus });
  await eventually('the status changes', () => positions.length > 0);
  first.connection.close();
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  const second = record(t, { url: broker.url, position: positions[0] });
  await second.has(1);
  assert.deepEqual(second.statuses, ['catching-up', 'live']);
});

test('payload without a type is text', async (t) => {
  const broker = await Broker.start(t);
  const client = record(t, { url: broker.url });
  await client.reaches('live');
  const payloads = ['plain', '[1]', '{"n":1}', 'two\nlines', '"connected"'];
  for (const payload of payloads) await broker.publish('acme', payload);
  await eventually('all payloads arrive', () => client.texts.length === payloads.length);
  assert.deepEqual(client.texts, payloads);
  assert.deepEqual(client.events, []);
});

test('event of the type connected is an event', async (t) => {
  const broker = await Broker.start(t);
  const client = record(t, { url: broker.url });
  await client.reaches('live');
  await broker.publish('acme', { type: 'connected', n: 1 });
  await client.has(1);
  assert.equal(client.events[0].type, 'connected');
});

test('types of the handlers are the filter and the position moves on', async (t) => {
  const broker = await Broker.start(t);
  const received = [];
  const keep = (event) => received.push(event.type);
  const client = record(t, { url: `${broker.url}/`, events: { A: keep, B: keep }, onEvent: undefined });
  await client.reaches('live');
  await broker.publish('acme', { type: 'B' });
  const last = await broker.publish('acme', { type: 'C' });
  await eventually('a heartbeat moves the position', () => client.connection.position === last);
  assert.deepEqual(received, ['B']);
});

test('connection resumes from a position that the application keeps', async (t) => {
  const broker = await Broker.start(t);
  const first = record(t, { url: broker.url });
  await first.reaches('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await first.has(1);
  first.connection.close();
  for (const n of [2, 3]) await broker.publish('acme', { type: 'NUMBER', n });
  const second = record(t, { url: broker.url, position: first.connection.position });
  await second.has(2);
  await second.reaches('live');
  assert.deepEqual([...first.numbers(), ...second.numbers()], numbersTo(3));
  assert.deepEqual(second.statuses, ['catching-up', 'live']);
});

test('exception of a handler stops neither events nor the position', async (t) => {
  const broker = await Broker.start(t);
  const thrown = [];
  // The test runner listens too; it would fail the test.
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => thrown.push(error.message));
  t.after(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
  });
  const NUMBER = ({ n }) => {
    throw new Error(`handler ${n}`);
  };
  const client = record(t, { url: broker.url, events: { NUMBER } });
  await client.reaches('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  const last = await broker.publish('acme', { type: 'NUMBER', n: 2 });
  await eventually('both exceptions are reported', () => thrown.length === 2);
  assert.deepEqual(thrown, ['handler 1', 'handler 2']);
  assert.equal(client.connection.position, last);
});

test('no function is called after close', async (t) => {
  const broker = await Broker.start(t);
  const client = record(t, {
    url: broker.url,
    onEvent: ({ n }) => {
      client.events.push({ n });
      client.connection.close();
    },
  });
  await client.reaches('live');
  await fetch(`${broker.url}/workspaces/acme/events?batch=1`, {
    method: 'POST',
    body: [1, 2, 3].map((n) => JSON.stringify({ type: 'NUMBER', n })).join('\n'),
  });
  await eventually('the stream is closed', async () => (await broker.streams()) === 0);
  assert.deepEqual(client.numbers(), [1]);
  assert.deepEqual(client.statuses, ['live', 'closed']);
  client.connection.close();
  assert.equal(client.statuses.length, 2);
});

test('process ends after close', async (t) => {
  const broker = await Broker.start(t);
  const program = `
    import { connect } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    const connection = connect({
      url: ${JSON.stringify(broker.url)},
      workspace: 'acme',
      onStatus: (status) => status === 'live' && connection.close(),
    });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'inherit' });
  t.after(() => child.kill('SIGKILL'));
  const [status] = await once(child, 'exit');
  assert.equal(status, 0);
});

test('invalid url is an error of the caller', () => {
  assert.throws(() => record({ after() {} }, { url: '/api' }), TypeError);
});

test('missing workspace is an error of the caller', async () => {
  const url = 'http://127.0.0.1:1/api';
  for (const workspace of [undefined, '']) {
    const expected = { name: 'TypeError', message: 'no workspace' };
    assert.throws(() => record({ after() {} }, { url, workspace }), expected);
    assert.throws(() => live({ url, workspace, load: () => 0, apply: () => 0 }), expected);
    await assert.rejects(fetchPosition({ url, workspace }), expected);
  }
});

test('connection without a handler follows the position alone', async (t) => {
  const broker = await Broker.start(t);
  const client = record(t, { url: broker.url, events: {}, onEvent: undefined });
  await client.reaches('live');
  const id = await broker.publish('acme', { type: 'NUMBER' });
  await eventually('the position moves on', () => client.connection.position === id);
  assert.deepEqual(client.statuses, ['live']);
});
