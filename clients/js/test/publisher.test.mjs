// Publishers over HTTP and Redis: lost replies, refusals, outages, and servers of other kinds.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import Redis from 'ioredis';
import { createClient, createCluster } from 'redis';
import { createCluster as createCluster4 } from 'redis-4';
import { createCluster as createCluster5 } from 'redis-5';

import { createPublisher, PublishError } from '../dist/server/index.js';
import { PUBLISH_SCRIPT } from '../dist/server/publish-script.js';
import { Broker, freePort } from './support/broker.mjs';
import { startLossyProxy } from './support/lossy-proxy.mjs';
import { startRedis, startRedisCluster } from './support/redis.mjs';
import { JWT, token } from './support/token.mjs';
import { eventually } from './support/wait.mjs';

const EVENT = { type: 'NUMBER', n: 1 };

function ioredis(t, port, options = {}) {
  const client = new Redis(port, { retryStrategy: () => 50, ...options });
  client.on('error', () => undefined);
  t.after(() => client.disconnect());
  return client;
}

async function nodeRedis(t, port) {
  const socket = { port, host: '127.0.0.1', reconnectStrategy: () => 50 };
  const client = createClient({ socket });
  client.on('error', () => undefined);
  await client.connect();
  t.after(() => client.destroy());
  return client;
}

/** Fails unless the publication is refused with these members of the error. */
async function refuses(publication, expected) {
  const error = await publication.then(
    (id) => assert.fail(`it is published as ${id}`),
    (reason) => reason,
  );
  assert.ok(error instanceof PublishError, error.stack);
  const { message, ...members } = expected;
  for (const [name, value] of Object.entries(members)) assert.equal(error[name], value, `${name}: ${error.message}`);
  if (message) assert.match(error.message, message);
  return error;
}

/** The length of the log of `acme`. */
const logLength = (client) => client.call('XLEN', 'workspace:acme');

test('lost response over HTTP publishes once', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await startLossyProxy(t, broker.port);
  const log = ioredis(t, broker.embedded);
  proxy.lose(2);
  const url = `http://127.0.0.1:${proxy.port}/api`;
  const id = await createPublisher({ url, timeoutMs: 40_000 }).publish('acme', EVENT);
  assert.match(id, /^\d+-\d+$/);
  assert.equal(proxy.lost, 2);
  assert.equal(await logLength(log), 1);

  proxy.lose(1);
  const once = createPublisher({ url, retries: false });
  const error = await refuses(once.publish('acme', EVENT), { isTemporary: true, reason: 'unavailable' });
  assert.equal(error.idempotencyKey, undefined);
  assert.equal(await logLength(log), 2);
});

test('error has the key with which a repetition publishes once', async (t) => {
  const broker = await Broker.start(t);
  const proxy = await startLossyProxy(t, broker.port);
  proxy.lose(100);
  const publisher = createPublisher({ url: `http://127.0.0.1:${proxy.port}/api`, timeoutMs: 500 });
  const { idempotencyKey } = await refuses(publisher.publish('acme', EVENT), { isTemporary: true });
  proxy.lose(0);
  await publisher.publish('acme', EVENT, { idempotencyKey });
  assert.equal(await logLength(ioredis(t, broker.embedded)), 1);
});

for (const [name, connect] of Object.entries({ ioredis, 'node-redis': nodeRedis })) {
  test(`lost reply of Redis over ${name} publishes once`, async (t) => {
    const redis = await startRedis(t);
    await createPublisher({ redis: ioredis(t, redis.port) }).publish('acme', EVENT);
    const proxy = await startLossyProxy(t, redis.port);
    const publisher = createPublisher({ redis: await connect(t, proxy.port), timeoutMs: 40_000 });
    proxy.lose(2);
    await publisher.publish('acme', EVENT);
    assert.equal(proxy.lost, 2);
    assert.equal(await logLength(ioredis(t, redis.port)), 2);
  });

  test(`outage of Redis is temporary over ${name}`, async (t) => {
    const redis = await startRedis(t);
    const publisher = createPublisher({ redis: await connect(t, redis.port), timeoutMs: 40_000 });
    const hasty = createPublisher({ redis: await connect(t, redis.port), timeoutMs: 300 });
    await publisher.publish('acme', EVENT);
    await redis.stop();
    await refuses(hasty.publish('acme', EVENT), { isTemporary: true, reason: 'unavailable' });
    const publication = publisher.publish('acme', { type: 'LATE' });
    await redis.start();
    await publication;
    const log = ioredis(t, redis.port);
    // The client of Redis may have run the event of the hasty publisher too.
    const payloads = (await log.call('XRANGE', 'workspace:acme', '-', '+')).map(([, fields]) => fields[1]);
    assert.equal(payloads.filter((payload) => payload === '{"type":"LATE"}').length, 1, payloads);
  });
}

test('publication waits for a broker that restarts', async (t) => {
  const broker = await Broker.start(t);
  await broker.kill();
  const { url } = broker;
  await refuses(createPublisher({ url, retries: false }).publish('acme', EVENT), {
    isTemporary: true,
    reason: 'unavailable',
    message: /the broker is not reachable at http.*ECONNREFUSED/,
  });
  const publication = createPublisher({ url, timeoutMs: 40_000 }).publish('acme', EVENT);
  await broker.restart();
  assert.match(await publication, /^\d+-\d+$/);
});

test('rate limit states its pause, and the publisher waits', async (t) => {
  const broker = await Broker.start(t, { 'limits.events_per_second': 1 });
  const { url } = broker;
  const once = createPublisher({ url, retries: false });
  const publications = await Promise.allSettled(Array.from({ length: 20 }, () => once.publish('acme', EVENT)));
  const [refused] = publications.filter(({ status }) => status === 'rejected');
  await refuses(Promise.reject(refused.reason), { status: 429, isTemporary: true, reason: 'rate-limited' });
  assert.ok(refused.reason.retryAfterMs >= 1000, `${refused.reason.retryAfterMs}`);

  const publisher = createPublisher({ url, timeoutMs: 40_000 });
  const ids = await Promise.all([1, 2, 3].map((n) => publisher.publish('acme', { type: 'NUMBER', n })));
  assert.equal(new Set(ids).size, 3);
});

test('refusal of the broker has its reason and is final', async (t) => {
  const broker = await Broker.start(t, { ...JWT, 'limits.event_bytes': 1024 });
  const { url } = broker;
  const withToken = (text) => createPublisher({ url, token: text });
  await refuses(createPublisher({ url }).publish('acme', EVENT), { reason: 'unauthenticated', status: 401, isTemporary: false });
  await refuses(withToken(token({ publish: ['other'] })).publish('acme', EVENT), { reason: 'forbidden', status: 403, isTemporary: false });
  const publisher = withToken(() => token());
  await refuses(publisher.publishPayload('acme', 'x'.repeat(1025)), { reason: 'event-too-large', status: 413, isTemporary: false });
  await refuses(createPublisher({ url: `${url}/other` }).publish('acme', EVENT), { reason: 'not-found', status: 404 });
  await publisher.publish('acme', EVENT);
});

test('responses of others than the broker are named', async (t) => {
  let respond;
  const server = createServer((_, response) => respond(response));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}/api`;
  const publisher = createPublisher({ url, retries: false });
  const responses = [
    [(response) => response.writeHead(404).end('<html>'), { status: 404, isTemporary: false, message: /is `url` the address/ }],
    [(response) => response.writeHead(302, { Location: '/login' }).end(), { status: 302, isTemporary: false }],
    [(response) => response.writeHead(200).end('<html>'), { status: 200, isTemporary: false }],
    [(response) => response.writeHead(200).end('{"id":5}'), { status: 200, isTemporary: false }],
    [(response) => response.writeHead(502).end(), { status: 502, isTemporary: true }],
  ];
  for (const [send, expected] of responses) {
    respond = send;
    await refuses(publisher.publish('acme', EVENT), { reason: 'unexpected-response', ...expected });
  }
});

test('rejection of Redis is final, a shortage of memory is not', async (t) => {
  const redis = await startRedis(t);
  const admin = ioredis(t, redis.port);
  await admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+ping', '+info', '+client');
  const client = ioredis(t, redis.port, { username: 'app', password: 'secret' });
  await refuses(createPublisher({ redis: client }).publish('acme', EVENT), {
    reason: 'refused-by-bus',
    isTemporary: false,
    message: /NOPERM/,
  });
  await admin.call('CONFIG', 'SET', 'maxmemory', '1');
  const publisher = createPublisher({ redis: admin, retries: false });
  await refuses(publisher.publish('acme', EVENT), { reason: 'unavailable', isTemporary: true, message: /OOM/ });
  await admin.call('CONFIG', 'SET', 'maxmemory', '0');
  await admin.call('SET', 'workspace:acme', 'no stream');
  await refuses(publisher.publish('acme', EVENT), { reason: 'refused-by-bus', isTemporary: false, message: /WRONGTYPE/ });
});

test('server may lose the function and the script', async (t) => {
  const redis = await startRedis(t);
  const broker = await Broker.start(t, { 'redis.url': `redis://127.0.0.1:${redis.port}` });
  const client = ioredis(t, redis.port);
  await eventually('the node loads the function', async () => (await client.call('FUNCTION', 'LIST')).length === 1);
  const publisher = createPublisher({ redis: client });
  const called = async (command) => new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await client.info('commandstats'))?.[1];
  await publisher.publish('acme', EVENT);
  assert.equal(await called('fcall'), '1');
  const evals = await called('eval');
  await client.call('FUNCTION', 'FLUSH');
  await client.call('SCRIPT', 'FLUSH');
  await publisher.publish('acme', EVENT);
  await client.call('SCRIPT', 'FLUSH');
  await publisher.publish('acme', EVENT);
  await publisher.publish('acme', EVENT);
  assert.equal(await called('eval') - (evals ?? 0), 2);
  assert.equal(await logLength(client), 4);
});

test('prefix and retention are those of the publisher', async (t) => {
  const redis = await startRedis(t);
  const client = ioredis(t, redis.port);
  const retention = { events: 100, seconds: 60 };
  const publisher = createPublisher({ redis: client, channelPrefix: 'app:ws:', retention });
  const events = Array.from({ length: 1000 }, (_, n) => ({ type: 'NUMBER', n }));
  await publisher.publishBatch('acme', events);
  await publisher.publish('acme', EVENT);
  assert.equal(await client.exists('workspace:acme'), 0);
  const length = await client.xlen('app:ws:acme');
  assert.ok(length >= 100 && length <= 300, `${length}`);
  assert.ok((await client.ttl('app:ws:acme')) <= 60);

  const small = createPublisher({ redis: client, eventBytes: 20 });
  await refuses(small.publish('acme', { type: 'LONGER_THAN_THAT' }), { reason: 'event-too-large', isTemporary: false });
});

test('cluster gets each event on the server of its workspace', async (t) => {
  const servers = await startRedisCluster(t);
  const rootNodes = [{ socket: { host: '127.0.0.1', port: servers[0].port } }];
  const nodeRedisCluster = async (create) => {
    const cluster = create({ rootNodes });
    cluster.on('error', () => undefined);
    await cluster.connect();
    t.after(() => cluster.disconnect());
    return cluster;
  };
  const ofIoredis = new Redis.Cluster([{ host: '127.0.0.1', port: servers[0].port }]);
  t.after(() => ofIoredis.disconnect());
  const clients = {
    'node-redis': await nodeRedisCluster(createCluster),
    'node-redis 5': await nodeRedisCluster(createCluster5),
    'node-redis 4': await nodeRedisCluster(createCluster4),
    ioredis: ofIoredis,
  };
  const workspaces = Array.from({ length: 12 }, (_, n) => `team-${n}`);
  for (const [name, redis] of Object.entries(clients)) {
    const { publish, publishBatch, publishLive } = createPublisher({ redis });
    const once = { idempotencyKey: name.replace(' ', '-') };
    for (const workspace of workspaces) {
      const id = await publish(workspace, EVENT);
      assert.equal(await publish(workspace, EVENT, once), await publish(workspace, EVENT, once));
      assert.equal((await publishBatch(workspace, [EVENT, EVENT])).length, 2);
      assert.equal(await publishLive(workspace, EVENT), 0, `${name}, ${id}`);
    }
  }
  for (const workspace of workspaces) assert.equal(await ofIoredis.xlen(`workspace:${workspace}`), 4 * 4);
  const keys = servers.map(({ port }) => ioredis(t, port).dbsize());
  assert.ok((await Promise.all(keys)).every((count) => count > 0), 'each server has a part');
});

test('live event is in no log and returns its receivers', async (t) => {
  const broker = await Broker.start(t);
  const clients = [ioredis(t, broker.embedded), await nodeRedis(t, broker.embedded)];
  for (const redis of clients) {
    const publisher = createPublisher({ redis });
    assert.equal(typeof (await publisher.publishLive('acme', EVENT)), 'number');
    await refuses(publisher.publishLive('a b', EVENT), { reason: 'bad-workspace' });
    await refuses(publisher.publishLive('acme', ''), { reason: 'bad-event' });
  }
  assert.equal(await logLength(clients[0]), 0);
  assert.equal(createPublisher({ url: broker.url }).publishLive, undefined);
});

test('event that cannot become JSON is refused', async (t) => {
  const publisher = createPublisher({ url: `http://127.0.0.1:${await freePort()}/api` });
  const circle = { type: 'A' };
  circle.self = circle;
  for (const event of [circle, { type: 'A', n: 1n }, undefined, () => 'A']) {
    await refuses(publisher.publish('acme', event), { reason: 'bad-event', isTemporary: false });
  }
  await refuses(publisher.publishPayload('acme', Buffer.from('x')), { reason: 'bad-event' });
});

test('wrong options are errors of the first line', (t) => {
  assert.throws(() => createPublisher({}), /needs `redis` or `url`/);
  assert.throws(() => createPublisher({ url: 'broker' }), TypeError);
  assert.throws(() => createPublisher({ redis: {} }), /a client of ioredis, or of redis/);
  const client = ioredis(t, 1, { lazyConnect: true, keyPrefix: 'app:' });
  assert.throws(() => createPublisher({ redis: client }), /adds "app:" to each key/);
});

test('package has the publish script of the repository', () => {
  const script = readFileSync(new URL('../../../scripts/publish.lua', import.meta.url), 'utf8');
  assert.equal(PUBLISH_SCRIPT, script);
});
