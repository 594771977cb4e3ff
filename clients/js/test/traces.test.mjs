// Traces of events in streams: the `traceparent` of a publisher reaches the page.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { createTraces } from '../dist/traces.js';
import { Broker } from './support/broker.mjs';
import { record, WORKSPACE } from './support/records.mjs';
import { eventually } from './support/wait.mjs';

const SETTINGS = { 'tracing.in_streams': true };

/** A `traceparent` of a trace of its own. */
const trace = (number) => `00-${String(number).padStart(32, '0')}-00f067aa0ba902b7-01`;

/** A connection that notes the trace of each event in its handler. */
function recordTraces(t, options, traces = createTraces()) {
  const seen = [];
  const onEvent = ({ n }, id) => seen.push([n, traces.traceparentOf(options.workspace ?? WORKSPACE, id)]);
  const client = record(t, { ...options, onEvent, transport: traces.transport });
  return Object.assign(client, { seen, has: (count) => eventually(`${count} events`, () => seen.length >= count) });
}

test('handler reads the trace of a live event and of a replayed one', async (t) => {
  const broker = await Broker.start(t, SETTINGS);
  const client = recordTraces(t, { url: broker.url });
  await client.reaches('live');
  const publish = (n, traceparent) => {
    return broker.publish(WORKSPACE, { type: 'NUMBER', n }, traceparent ? { traceparent } : {});
  };
  const first = await publish(1, trace(1));
  await publish(2);
  await publish(3, trace(3));
  await publish(4, trace(4).replace(/01$/, '00'));
  await publish(5, 'invalid');
  const expected = [[1, trace(1)], [2, undefined], [3, trace(3)], [4, undefined], [5, undefined]];
  await client.has(5);
  assert.deepEqual(client.seen, expected);
  // Another page has it from the memory of the node, and after a restart from the log.
  for (const isRestarted of [false, true]) {
    if (isRestarted) await broker.restart();
    const later = recordTraces(t, { url: broker.url, position: first });
    await later.has(4);
    assert.deepEqual(later.seen, expected.slice(1));
    await later.reaches('live');
    later.connection.close();
  }
});

test('event without a trace has none after a reconnect', async (t) => {
  const broker = await Broker.start(t, SETTINGS);
  const client = recordTraces(t, { url: broker.url });
  await client.reaches('live');
  await broker.publish(WORKSPACE, { type: 'NUMBER', n: 1 }, { traceparent: trace(1) });
  await client.has(1);
  await broker.restart();
  await client.reaches('live');
  await broker.publish(WORKSPACE, { type: 'NUMBER', n: 2 });
  await client.has(2);
  assert.deepEqual(client.seen, [[1, trace(1)], [2, undefined]]);
});

test('node without the setting sends no trace', async (t) => {
  const broker = await Broker.start(t);
  const client = recordTraces(t, { url: broker.url });
  await client.reaches('live');
  await broker.publish(WORKSPACE, { type: 'NUMBER', n: 1 }, { traceparent: trace(1) });
  await client.has(1);
  assert.deepEqual(client.seen, [[1, undefined]]);
});

/** Serves one stream for each workspace, and keeps it open. */
async function serve(t, streams) {
  const server = createServer((request, response) => {
    const [, workspace] = /workspaces\/(.+)\/events/.exec(request.url);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`data: {"type":"connected","workspaceId":"${workspace}"}\n\n${streams[workspace]}`);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

const event = (id, n) => `id: ${id}\ndata: {"type":"NUMBER","n":${n}}\n\n`;

test('comment belongs to the event of its block alone', async (t) => {
  const comment = (number) => `: traceparent=${trace(number)}\n`;
  const url = await serve(t, {
    acme: [
      `${comment(1)}event: tidings.heartbeat\nid: 1-0\ndata: {"live":true}\n\n${event('1-0', 1)}`,
      `: traceparent=00-${'0'.repeat(32)}\n${event('2-0', 2)}`,
      `: note\n${event('3-0', 3)}`,
      `${comment(4)}: note\n${event('4-0', 4)}`,
      `${comment(5)}${event('5-0', 5)}`,
      event('6-0', 6),
    ].join(''),
  });
  const client = recordTraces(t, { url });
  await client.has(6);
  const expected = [1, 2, 3, 4, 5, 6].map((n) => [n, n >= 4 && n <= 5 ? trace(n) : undefined]);
  assert.deepEqual(client.seen, expected);
});

test('events of two workspaces with one id have each their trace', async (t) => {
  const url = await serve(t, { a: `: traceparent=${trace(1)}\n${event('1-0', 1)}`, b: event('1-0', 2) });
  const traces = createTraces();
  const clients = ['a', 'b'].map((workspace) => recordTraces(t, { url, workspace }, traces));
  for (const client of clients) await client.has(1);
  assert.equal(traces.traceparentOf('a', '1-0'), trace(1));
  assert.equal(traces.traceparentOf('b', '1-0'), undefined);
});

test('traces that are kept have a bound', async (t) => {
  const numbers = Array.from({ length: 1001 }, (_, at) => at + 1);
  const url = await serve(t, {
    acme: numbers.map((n) => `: traceparent=${trace(n)}\n${event(`${n}-0`, n)}`).join(''),
  });
  const traces = createTraces();
  const client = recordTraces(t, { url }, traces);
  await client.has(1001);
  assert.equal(traces.traceparentOf(WORKSPACE, '1-0'), undefined);
  assert.equal(traces.traceparentOf(WORKSPACE, '2-0'), trace(2));
  assert.equal(traces.traceparentOf(WORKSPACE, '1001-0'), trace(1001));
});
