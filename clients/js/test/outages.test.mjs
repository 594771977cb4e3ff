// Outages of the broker and of the network: every durable event once, in order.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { NumberedPublisher, record, numbersTo } from './support/records.mjs';
import { TcpProxy } from './support/tcp-proxy.mjs';
import { eventually } from './support/wait.mjs';

/** Ends a broker in some way during publications, and starts it again. */
async function survives(t, end) {
  const broker = await Broker.start(t);
  const client = record(t, { url: broker.url });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker);
  for (const round of [1, 2]) {
    await client.has(client.events.length + 20);
    await end(broker);
    await client.reaches('away');
    await broker.restart();
    await eventually(`round ${round}: the client is back`, () => client.connection.status === 'live');
  }
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.deepEqual(client.resets, []);
  assert.deepEqual(client.warnings, []);
}

test('killed broker costs no event', (t) => survives(t, (broker) => broker.kill()));

test('drained broker costs no event', (t) => survives(t, (broker) => broker.terminate()));

test('broken connections cost no event', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await TcpProxy.start(t, broker.port);
  const client = record(t, { url: proxy.url });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { pauseMs: 5 });
  for (let round = 0; round < 10; round += 1) {
    await client.has(client.events.length + 5);
    proxy.cut();
  }
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.deepEqual(client.resets, []);
});

test('client that starts before its broker waits for it', async (t) => {
  const broker = await Broker.start(t);
  await broker.kill();
  const client = record(t, { url: broker.url });
  await client.reaches('away');
  await broker.restart();
  await client.reaches('live');
  assert.deepEqual(client.statuses, ['away', 'live']);
});

test('response of a proxy never ends a connection', async (t) => {
  const broker = await Broker.start(t);
  const responses = [
    [502, 'text/html', 'Bad Gateway'],
    [404, 'text/html', 'Not Found'],
    [403, 'text/html', 'Forbidden'],
    [401, 'application/json', '{}'],
    [403, 'application/problem+json', '{"type":"about:blank","title":"Forbidden"}'],
    [403, 'application/problem+json', 'no JSON'],
    [200, 'text/html', '<h1>Log in</h1>'],
    [204, 'text/plain', ''],
    [503, 'application/problem+json', '{"type":"urn:tidings:problem:unavailable","detail":"later"}'],
    [429, 'application/problem+json', '{"type":"urn:tidings:problem:rate-limited","detail":"later"}'],
  ];
  // The first request of each workspace gets its response; later ones reach the broker.
  const seen = new Set();
  const proxy = createServer(async (request, response) => {
    const [, workspace] = /workspaces\/(\d+)/.exec(request.url);
    const [status, type, body] = responses[workspace];
    if (!seen.has(workspace)) {
      seen.add(workspace);
      response.writeHead(status, { 'content-type': type });
      return response.end(status === 204 ? undefined : body);
    }
    const upstream = await fetch(`http://127.0.0.1:${broker.port}${request.url}`);
    response.writeHead(upstream.status, Object.fromEntries(upstream.headers));
    return pipeline(upstream.body, response).catch(() => undefined);
  });
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  const url = `http://127.0.0.1:${proxy.address().port}/api`;
  const clients = responses.map((_, index) => record(t, { url, workspace: String(index) }));
  for (const [index, client] of clients.entries()) {
    await client.reaches('live');
    await broker.publish(String(index), { type: 'NUMBER', n: 1 });
    await client.has(1);
    assert.deepEqual(client.statuses, ['away', 'live']);
  }
});
