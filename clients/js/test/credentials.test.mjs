// Tokens and tickets: renewed before they end, without a lost or doubled event.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker } from './support/broker.mjs';
import { NumberedPublisher, record, numbersTo } from './support/records.mjs';
import { TcpProxy } from './support/tcp-proxy.mjs';
import { timedTest } from './support/timed.mjs';
import { JWT, bearer, token } from './support/token.mjs';
import { eventually } from './support/wait.mjs';

const MINUTES = 600;

/** Returns the tokens of `lives` seconds, the last one again and again, and counts the requests. */
function tokens(...lives) {
  const auth = async () => {
    auth.calls += 1;
    return token({ seconds: lives[Math.min(auth.calls, lives.length) - 1] });
  };
  auth.calls = 0;
  return auth;
}

timedTest('token is renewed before it ends while the stream remains live', async (t) => {
  const broker = await Broker.start(t, JWT);
  const proxy = await TcpProxy.start(t, broker.port);
  const auth = tokens(9, 9, MINUTES);
  const client = record(t, { url: proxy.url, auth });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()), pauseMs: 2 });
  await eventually('the token was renewed twice', () => auth.calls >= 3);
  await eventually('the stream was replaced twice', async () => {
    return proxy.requests >= 3 && (await broker.streams()) === 1;
  });
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.deepEqual(client.statuses, ['live']);
  assert.deepEqual(client.resets, []);
});

timedTest('live events survive a renewal on the same node', async (t) => {
  const broker = await Broker.start(t, JWT);
  const proxy = await TcpProxy.start(t, broker.port);
  const auth = tokens(9, MINUTES);
  const client = record(t, { url: proxy.url, auth });
  await client.reaches('live');
  let count = 0;
  while (proxy.requests < 2 || count % 50 !== 0) {
    count += 1;
    const payload = JSON.stringify({ type: 'NUMBER', n: count });
    // Every third one is durable.
    if (count % 3 === 0) await broker.publish('acme', payload, bearer(token()));
    else await broker.publishOnBus('workspace:acme', payload);
  }
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.deepEqual(client.resets, []);
});

test('user with room for one stream is renewed by closing first', async (t) => {
  const broker = await Broker.start(t, { ...JWT, 'limits.connections_per_user': 1 });
  const auth = tokens(9, MINUTES);
  const client = record(t, { url: broker.url, auth });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token({ user: 'bob' })) });
  await eventually('the token was renewed', () => auth.calls >= 2);
  await client.reaches('away');
  await client.reaches('live');
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.deepEqual(client.resets, []);
});

test('successor without a response makes the old stream close first', async (t) => {
  const broker = await Broker.start(t, JWT);
  const proxy = await TcpProxy.start(t, broker.port);
  const auth = tokens(9, MINUTES);
  const client = record(t, { url: proxy.url, auth });
  await client.reaches('live');
  proxy.stallNext();
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()) });
  await eventually('the client resumes', () => proxy.requests >= 3);
  await client.reaches('live');
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.deepEqual(client.resets, []);
});

test('old stream that ends during a renewal costs no event', async (t) => {
  const broker = await Broker.start(t, JWT);
  const proxy = await TcpProxy.start(t, broker.port);
  const auth = tokens(9, MINUTES);
  const client = record(t, { url: proxy.url, auth });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()) });
  proxy.stallNext();
  await eventually('the successor has begun', () => proxy.requests >= 2);
  proxy.cut();
  await eventually('the client resumes', () => proxy.requests >= 3);
  await client.reaches('live');
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
});

test('app without a new token leaves the stream until its end', async (t) => {
  const broker = await Broker.start(t, JWT);
  let calls = 0;
  const auth = async () => {
    calls += 1;
    if (calls === 2) throw new Error('the app is away');
    return token({ seconds: calls === 1 ? 9 : MINUTES });
  };
  const client = record(t, { url: broker.url, auth });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()) });
  await eventually('the token was renewed', () => calls >= 3);
  await client.reaches('live');
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.equal(client.warnings.length, 1);
});

test('token that has ended is renewed once', async (t) => {
  const broker = await Broker.start(t, JWT);
  const auth = tokens(-60, MINUTES);
  const client = record(t, { url: broker.url, auth });
  await client.reaches('live');
  assert.equal(auth.calls, 2);
  assert.deepEqual(client.statuses, ['away', 'live']);
});

test('second token that is rejected is the end', async (t) => {
  const broker = await Broker.start(t, JWT);
  const auth = tokens(-60);
  const client = record(t, { url: broker.url, auth });
  await client.reaches('denied');
  assert.equal(auth.calls, 2);
  assert.equal(client.connection.error.check, 'expiry');
});

test('good token survives an outage without a new one', async (t) => {
  const broker = await Broker.start(t, JWT);
  const auth = tokens(MINUTES);
  const client = record(t, { url: broker.url, auth });
  await client.reaches('live');
  await broker.kill();
  await client.reaches('away');
  await broker.restart();
  await client.reaches('live');
  assert.equal(auth.calls, 1);
});

test('each stream has a ticket of its own', async (t) => {
  const broker = await Broker.start(t, JWT);
  const proxy = await TcpProxy.start(t, broker.port);
  let calls = 0;
  const auth = async () => {
    calls += 1;
    const response = await fetch(`${broker.url}/tickets`, {
      method: 'POST',
      headers: bearer(token({ seconds: calls === 1 ? 9 : MINUTES })),
      body: JSON.stringify({ workspace: 'acme' }),
    });
    const { ticket } = await response.json();
    // The stream of the first ticket ends with its token.
    return calls === 1 ? { ticket, expiresAt: Date.now() + 9_000 } : { ticket };
  };
  const client = record(t, { url: proxy.url, auth });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()) });
  await eventually('the ticket was renewed', () => calls >= 2 && proxy.requests >= 2);
  await client.has(client.events.length + 20);
  const used = calls;
  proxy.cut();
  await eventually('another ticket was used', () => calls > used);
  await client.reaches('live');
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
  assert.deepEqual(client.resets, []);
});

test('stream of an opaque token ends and resumes', async (t) => {
  const broker = await Broker.start(t, JWT);
  let calls = 0;
  // `expiresAt` is wrong, as with a clock that is behind.
  const auth = async () => {
    calls += 1;
    return { token: token({ seconds: calls === 1 ? 4 : MINUTES }), expiresAt: Date.now() + 3_600_000 };
  };
  const client = record(t, { url: broker.url, auth });
  await client.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()) });
  await eventually('the token was renewed', () => calls >= 2);
  await client.reaches('live');
  const count = await publisher.stop();
  await client.has(count);
  assert.deepEqual(client.numbers(), numbersTo(count));
});

timedTest('stream that ends while a renewal waits for credentials is replaced at once', async (t) => {
  const broker = await Broker.start(t, JWT);
  const proxy = await TcpProxy.start(t, broker.port);
  let calls = 0;
  const auth = () => {
    calls += 1;
    return calls === 2 ? new Promise(() => undefined) : token({ seconds: calls === 1 ? 18 : MINUTES });
  };
  // The renewal begins after 12 s of the 18 s.
  const client = record(t, { url: proxy.url, auth });
  await client.reaches('live');
  await eventually('the client asks for another token', () => calls === 2);
  const endedAt = Date.now();
  proxy.cut();
  await client.reaches('away');
  assert.ok(Date.now() - endedAt < 1_000, `away after ${Date.now() - endedAt} ms`);
  // The pause is at most 2.5 s. The old token has not ended.
  await client.reaches('catching-up');
  assert.ok(Date.now() - endedAt < 5_000, `${Date.now() - endedAt} ms`);
  await client.reaches('live');
  await eventually('the client asks again', () => calls === 3);
});
