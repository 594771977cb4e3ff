// Drives a server on 127.0.0.1 with Node's redis library, in both versions of the protocol:
// node redis.mjs PORT DIRECTORY-OF-THE-LIBRARIES
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

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
  assert.equal(await publisher.clientGetName(), 'worker');
  assert.equal(await publisher.sendCommand(['CLIENT', 'SETINFO', 'LIB-NAME', 'tests']), 'OK');
  assert.ok(await publisher.sendCommand(['HELLO']));

  const [message, patternMessage] = [firstCall(), firstCall()];
  await subscriber.subscribe(`node-${RESP}`, message.callback);
  await subscriber.pSubscribe(`nod?-${RESP}`, patternMessage.callback);
  await subscriber.ping();
  assert.equal(await publisher.publish(`node-${RESP}`, '{"type":"x"}'), 2);
  assert.deepEqual(await message.called, ['{"type":"x"}', `node-${RESP}`]);
  assert.deepEqual(await patternMessage.called, ['{"type":"x"}', `node-${RESP}`]);

  await subscriber.unsubscribe(`node-${RESP}`);
  await subscriber.pUnsubscribe(`nod?-${RESP}`);
  assert.equal(await publisher.publish(`node-${RESP}`, 'x'), 0);
  assert.equal(String(await subscriber.ping()), 'PONG');
  await assert.rejects(publisher.get('key'), /embedded bus/);
  assert.equal(await publisher.sendCommand(['QUIT']), 'OK');
  publisher.destroy();
  await subscriber.close();
}
