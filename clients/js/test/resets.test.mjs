// Resets: where events may be missing, the application gets a reason.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { record } from './support/records.mjs';
import { eventually } from './support/wait.mjs';

test('invalid position gives a reset', async (t) => {
  const broker = await Broker.start(t);
  const client = record(t, { url: broker.url, position: 'no/position' });
  await eventually('the reset arrives', () => client.resets.length === 1);
  const [{ reason, from, head }] = client.resets;
  assert.deepEqual([reason, from], ['unknown-position', 'no/position']);
  assert.equal(client.connection.position, head);
  assert.equal(client.connection.status, 'live');
});

test('log that was trimmed gives a reset and the new events', async (t) => {
  const broker = await Broker.start(t, { 'retention.events': 1, 'ring.events': 1 });
  const first = record(t, { url: broker.url });
  await first.reaches('live');
  const from = await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await first.has(1);
  first.connection.close();
  for (let n = 2; n < 400; n += 1) await broker.publish('acme', { type: 'NUMBER', n });
  const client = record(t, { url: broker.url, position: first.connection.position });
  await eventually('the reset arrives', () => client.resets.length === 1);
  assert.deepEqual([client.resets[0].reason, client.resets[0].from], ['trimmed', from]);
  await broker.publish('acme', { type: 'NUMBER', n: 400 });
  await client.has(1);
  assert.deepEqual(client.numbers(), [400]);
});

test('broker that has lost its log gives a reset', async (t) => {
  const broker = await Broker.start(t, { 'embedded.path': '' });
  const client = record(t, { url: broker.url });
  await client.reaches('live');
  await broker.publish('acme', { type: 'NUMBER', n: 1 });
  await client.has(1);
  await broker.kill();
  await broker.restart();
  await eventually('the reset arrives', () => client.resets.length > 0);
  await client.reaches('live');
  await broker.publish('acme', { type: 'NUMBER', n: 2 });
  await client.has(2);
  assert.deepEqual(client.numbers(), [1, 2]);
});
