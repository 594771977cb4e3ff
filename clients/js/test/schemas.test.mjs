// The version of the broker's schemas, and a page that was built for another one.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { record } from './support/records.mjs';
import { startSchemasProxy } from './support/schemas-proxy.mjs';
import { eventually } from './support/wait.mjs';

test('another version of the schemas is reported once', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await startSchemasProxy(t, broker, 'old');
  const versions = [];
  const onOutdated = (version) => versions.push(version);
  const client = record(t, { url: proxy.url, schemas: 'old', onOutdated });
  await client.reaches('live');
  assert.deepEqual(versions, []);
  for (const [version, expected] of [
    ['new', ['new']],
    ['new', ['new']],
    ['old', ['new']],
    ['new', ['new', 'new']],
  ]) {
    proxy.version = version;
    const { length } = client.statuses;
    proxy.cut();
    await eventually('the client is live again', () => {
      return client.statuses.slice(length).includes('away') && client.connection.status === 'live';
    });
    assert.deepEqual(versions, expected);
  }
});

test('broker without schemas makes no page outdated', async (t) => {
  const broker = await Broker.start(t);
  const versions = [];
  const onOutdated = (version) => versions.push(version);
  const client = record(t, { url: broker.url, schemas: 'old', onOutdated });
  await client.reaches('live');
  assert.deepEqual(versions, []);
});
