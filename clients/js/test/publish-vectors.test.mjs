// The shared vectors of publications, over every transport.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as ioredis6 from 'ioredis';
import * as ioredis5 from 'ioredis-5';
import * as redis6 from 'redis';
import * as redis4 from 'redis-4';
import * as redis5 from 'redis-5';

import { createPublisher, PublishError } from '../dist/server/index.js';
import { Broker } from './support/broker.mjs';
import { startRedis } from './support/redis.mjs';
import { JWT, token } from './support/token.mjs';
import { readVectors, subscribe } from './support/vectors.mjs';
import { eventually } from './support/wait.mjs';

const vectors = readVectors();
const SETTINGS = { ...JWT, 'tracing.in_streams': true };

async function ioredis({ Redis }, t, port) {
  const client = new Redis(port);
  t.after(() => client.disconnect());
  return client;
}

async function nodeRedis({ createClient }, t, port) {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  client.on('error', () => undefined);
  await client.connect();
  // `disconnect` is the older name.
  t.after(() => (client.destroy ?? client.disconnect).call(client));
  return client;
}

/** A transport over a client of Redis, by a version of its package. */
function over(connect, version) {
  return async (t, broker) => createPublisher({ redis: await connect(version, t, broker.bus) });
}

/** A client of a server that has no functions, as Redis 6.2 is. */
function withoutFunctions(client) {
  return {
    call: (command, ...args) => client.call(command === 'FCALL' ? 'NOFCALL' : command, ...args),
  };
}

const TRANSPORTS = {
  'HTTP': (t, broker) => createPublisher({ url: `${broker.url}/`, token: async () => token() }),
  'ioredis 6': over(ioredis, ioredis6),
  'ioredis 5': over(ioredis, ioredis5),
  'node-redis 6': over(nodeRedis, redis6),
  'node-redis 5': over(nodeRedis, redis5),
  'node-redis 4': over(nodeRedis, redis4),
  'script': async (t, broker) => createPublisher({ redis: withoutFunctions(await ioredis(ioredis6, t, broker.bus)) }),
};

const BUSES = {
  async embedded(t) {
    const broker = await Broker.start(t, SETTINGS);
    return Object.assign(broker, { bus: broker.embedded });
  },
  async Redis(t) {
    const { port } = await startRedis(t);
    const broker = await Broker.start(t, { ...SETTINGS, 'redis.url': `redis://127.0.0.1:${port}` });
    return Object.assign(broker, { bus: port });
  },
};

function publishOne(publisher, { workspace = 'acme', event, text, events, to, idempotencyKey, traceparent }) {
  const options = { ...(to && { to }), ...(idempotencyKey !== undefined && { idempotencyKey }), traceparent };
  if (events) return publisher.publishBatch(workspace, events, options);
  if (text !== undefined) return publisher.publishPayload(workspace, text, options);
  return publisher.publish(workspace, event, options);
}

/** Publishes all vectors, and returns what each client has to get. */
async function publishAll(publisher) {
  const expected = { ann: [], bob: [], filtered: [] };
  const arrives = (id, payload, { to, passesFilter, trace }) => {
    const event = { id, payload, trace };
    expected.ann.push(event);
    if (!to || to.includes('bob')) expected.bob.push(event);
    if (passesFilter) expected.filtered.push(event);
  };
  for (const vector of vectors.published) {
    arrives(await publishOne(publisher, vector), vector.payload, vector);
  }
  for (const vector of vectors.repeated) {
    const id = await publishOne(publisher, vector);
    assert.equal(await publishOne(publisher, vector), id, vector.name);
    arrives(id, vector.payload, vector);
  }
  for (const vector of vectors.batches) {
    const ids = await publishOne(publisher, vector);
    assert.equal(ids.length, vector.payloads.length, vector.name);
    if (vector.idempotencyKey) assert.deepEqual(await publishOne(publisher, vector), ids, vector.name);
    ids.forEach((id, at) => arrives(id, vector.payloads[at], vector));
  }
  for (const vector of vectors.refused) {
    await assert.rejects(publishOne(publisher, vector), (error) => {
      assert.ok(error instanceof PublishError, `${vector.name}: ${error.stack}`);
      assert.equal(error.reason, vector.reason, `${vector.name}: ${error.message}`);
      assert.equal(error.isTemporary, false, vector.name);
      return true;
    }, vector.name);
  }
  // It ends the wait of each client: after it, nothing is missing.
  const end = { type: vectors.filter, end: true };
  arrives(await publisher.publish('acme', end), JSON.stringify(end), { passesFilter: true });
  return expected;
}

for (const [busName, startBus] of Object.entries(BUSES)) {
  for (const [name, create] of Object.entries(TRANSPORTS)) {
    test(`vectors hold over ${name} on the bus ${busName}`, async (t) => {
      const broker = await startBus(t);
      const got = {
        ann: await subscribe(t, broker, { user: 'ann' }),
        bob: await subscribe(t, broker, { user: 'bob' }),
        filtered: await subscribe(t, broker, { user: 'ann', types: vectors.filter }),
      };
      const publisher = await create(t, broker);
      const expected = await publishAll(publisher);
      for (const [client, events] of Object.entries(expected)) {
        await eventually(`${client} has all events`, () => got[client].at(-1)?.id === events.at(-1).id);
        assert.deepEqual(got[client], events, client);
      }
    });
  }
}
