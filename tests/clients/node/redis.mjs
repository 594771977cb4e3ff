// Drives a server on 127.0.0.1 with Node's redis library, in both versions of the protocol:
// node redis.mjs PORT DIRECTORY-OF-THE-LIBRARIES
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const script = readFileSync(new URL('../../../scripts/publish.lua', import.meta.url), 'utf8');
const [port, libraries] = process.argv.slice(2);
const { createClient } = createRequire(`${libraries}/`)('redis');

/** A promise for the first call of the callback. */
const firstCall = () => {
  let callback;
  const called = new Promise((resolve) => (callback = (...args) => resolve(args)));
  return { called, callback };
};

for (const RESP of [2, 3]) {
  const open = async () => {
    const client = createClient({ socket: { port: Number(port), host: '127.0.0.1' }, RESP, name: 'worker' });
    client.on('error', (error) => { throw error; });
    return client.connect();
  };
  const [publisher, subscriber] = [await open(), await open()];
  assert.equal(await publisher.ping(), 'PONG');
  assert.equal(await publisher.sendCommand(['CLIENT', 'SETINFO', 'LIB-NAME', 'tests']), 'OK');
  assert.ok(await publisher.sendCommand(['HELLO']));

  const [message, patternMessage] = [firstCall(), firstCall()];
  await subscriber.subscribe(`node-${RESP}`, message.callback);
  await subscriber.pSubscribe(`nod*-${RESP}`, patternMessage.callback);
  await subscriber.ping();
  assert.equal(await publisher.publish(`node-${RESP}`, '{"type":"x"}'), 2);
  assert.deepEqual(await message.called, ['{"type":"x"}', `node-${RESP}`]);
  assert.deepEqual(await patternMessage.called, ['{"type":"x"}', `node-${RESP}`]);

  await subscriber.unsubscribe(`node-${RESP}`);
  await subscriber.pUnsubscribe(`nod*-${RESP}`);
  assert.equal(await publisher.publish(`node-${RESP}`, 'x'), 0);
  assert.equal(String(await subscriber.ping()), 'PONG');
  await assert.rejects(publisher.get('key'), /embedded bus/);

  const log = `workspace:node-${RESP}`;
  const [first, receivers] = await publisher.multi()
    .xAdd(log, '*', { data: '{}' }, { TRIM: { strategy: 'MAXLEN', strategyModifier: '~', threshold: 1000 } })
    .publish(log, '')
    .exec();
  assert.equal(receivers, 0);
  const second = await publisher.eval(script, { keys: [log], arguments: ['two'] });
  const third = await publisher.fCall('tidings_publish', { keys: [log], arguments: ['three'] });
  const entries = await publisher.xRange(log, '-', '+', { COUNT: 10 });
  assert.deepEqual(entries.map(({ id }) => id), [first, second, third]);
  assert.equal(entries[1].message.data, 'two');
  assert.equal((await publisher.xRevRange(log, '+', '-', { COUNT: 1 }))[0].id, third);
  assert.equal(await publisher.xLen(log), 3);
  assert.equal(await publisher.del(log), 1);
  assert.equal(await publisher.sendCommand(['QUIT']), 'OK');
  publisher.destroy();
  await subscriber.close();
}
