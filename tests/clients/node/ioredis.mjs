// Drives a server on 127.0.0.1 with Node's ioredis library: node ioredis.mjs PORT DIRECTORY-OF-THE-LIBRARIES
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [port, libraries] = process.argv.slice(2);
const { Redis } = createRequire(`${libraries}/`)('ioredis');

const open = async () => {
  const client = new Redis({ port: Number(port), host: '127.0.0.1', connectionName: 'worker' });
  client.on('error', (error) => { throw error; });
  await once(client, 'ready');
  return client;
};
const [publisher, subscriber] = [await open(), await open()];
assert.equal(await publisher.ping(), 'PONG');
assert.equal(await publisher.client('SETINFO', 'LIB-NAME', 'tests'), 'OK');
assert.ok(await publisher.hello(2));

assert.equal(await subscriber.subscribe('io'), 1);
assert.equal(await subscriber.psubscribe('i*'), 2);
const [message, patternMessage] = [once(subscriber, 'message'), once(subscriber, 'pmessage')];
await subscriber.ping();
assert.equal(await publisher.publish('io', '{"type":"x"}'), 2);
assert.deepEqual(await message, ['io', '{"type":"x"}']);
assert.deepEqual(await patternMessage, ['i*', 'io', '{"type":"x"}']);

assert.equal(await subscriber.unsubscribe('io'), 1);
assert.equal(await subscriber.punsubscribe(), 0);
assert.equal(await publisher.publish('io', 'x'), 0);
await assert.rejects(publisher.get('key'), /embedded bus/);
const results = await publisher.pipeline().publish('nobody', '1').publish('nobody', '2').exec();
assert.deepEqual(results, [[null, 0], [null, 0]]);

const log = 'workspace:ioredis';
const [[, first], [, receivers]] =
  await publisher.multi().xadd(log, 'MAXLEN', '~', 1000, '*', 'data', '{}').publish(log, '').exec();
assert.equal(receivers, 0);
const lua = readFileSync(new URL('../../../scripts/publish.lua', import.meta.url), 'utf8');
publisher.defineCommand('publishDurably', { numberOfKeys: 1, lua });
const second = await publisher.publishDurably(log, 'two');
const third = await publisher.fcall('tidings_publish', 1, log, 'three');
const entries = await publisher.xrange(log, '-', '+');
assert.deepEqual(entries.map(([id]) => id), [first, second, third]);
assert.deepEqual(entries[0][1], ['data', '{}']);
assert.equal(await publisher.xlen(log), 3);
assert.equal(await publisher.del(log), 1);
assert.equal(await publisher.quit(), 'OK');
assert.equal(await subscriber.quit(), 'OK');
