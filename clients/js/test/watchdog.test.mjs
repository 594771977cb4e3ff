// Streams that are silent: dead networks, sleeping machines, proxies that buffer.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { sendOnlyComments, startForeignServer } from './support/foreign-server.mjs';
import { record, numbersTo } from './support/records.mjs';
import { TcpProxy } from './support/tcp-proxy.mjs';
import { timedTest } from './support/timed.mjs';
import { eventually, sleep } from './support/wait.mjs';

timedTest('silent stream is replaced after 2.5 heartbeat intervals', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await TcpProxy.start(t, broker.port);
  const client = record(t, { url: proxy.url });
  await client.reaches('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await client.has(1);
  proxy.stall();
  const stalledAt = Date.now();
  await broker.publish('acme', { type: 'NUMBER', n: 2 });
  await client.has(2);
  const silenceMs = Date.now() - stalledAt;
  // The last heartbeat is up to 1.1 s old, and the watchdog looks every 0.5 s.
  assert.ok(silenceMs >= 1_300, `${silenceMs} ms`);
  assert.ok(silenceMs < 2_500 + 500 + 2_000, `${silenceMs} ms`);
  assert.deepEqual(client.numbers(), numbersTo(2));
  assert.deepEqual(client.resets, []);
});

timedTest('idle stream with heartbeats is not replaced', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await TcpProxy.start(t, broker.port);
  const client = record(t, { url: proxy.url });
  await client.reaches('live');
  await sleep(6_000);
  assert.equal(proxy.requests, 1);
  assert.deepEqual(client.statuses, ['live']);
});

timedTest('interval of the connected event has priority', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await TcpProxy.start(t, broker.port);
  // The interval of the node is a second. By its own one, the client would wait for 150 s.
  const client = record(t, { url: proxy.url, heartbeatMs: 60_000 });
  await client.reaches('live');
  proxy.stall();
  await eventually('the stream is replaced in time', () => proxy.requests > 1, 15_000);
});

test('request without a response is repeated', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await TcpProxy.start(t, broker.port);
  proxy.stallNext();
  const client = record(t, { url: proxy.url });
  await client.reaches('live');
  assert.equal(proxy.requests, 2);
  assert.deepEqual(client.statuses, ['away', 'live']);
});

test('buffering proxy is named once', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await TcpProxy.start(t, broker.port);
  proxy.holdBodies();
  const client = record(t, { url: proxy.url, heartbeatMs: 4_000 });
  const beganAt = Date.now();
  await eventually('the client warns', () => client.warnings.length === 1);
  assert.match(client.warnings[0], /buffer.*docs\/guides\/behind-a-proxy\.md/);
  assert.ok(Date.now() - beganAt >= 2_900);
  await eventually('the stream is replaced', () => proxy.requests > 1);
  await sleep(4_000);
  assert.equal(client.warnings.length, 1);
});

test('proxy that passes comments alone is named', async (t) => {
  const url = await startForeignServer(t, sendOnlyComments);
  const client = record(t, { url });
  await eventually('the client warns', () => client.warnings.length === 1);
  assert.match(client.warnings[0], /buffer.*docs\/guides\/behind-a-proxy\.md/);
});

timedTest('process that was stopped resumes within 2 s', async (t) => {
  const broker = await Broker.start(t);
  const program = `
    import { connect } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    connect({
      url: ${JSON.stringify(broker.url)},
      workspace: 'acme',
      onEvent: (event) => console.log(event.n),
      onStatus: (status) => console.log(status),
    });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program]);
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  await eventually('it is live', () => output === 'live\n');
  child.kill('SIGSTOP');
  await sleep(6_000);
  child.kill('SIGCONT');
  const awakeAt = Date.now();
  await eventually('it has reconnected', () => output.endsWith('away\ncatching-up\nlive\n'));
  const catchingUpMs = 1_000;
  assert.ok(Date.now() - awakeAt < 2_000 + catchingUpMs, `${Date.now() - awakeAt} ms`);
});
