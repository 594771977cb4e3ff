// Final refusals of the broker end a connection, with their reason.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DeniedError } from '../dist/index.js';
import { Broker } from './support/broker.mjs';
import { startForeignServer } from './support/foreign-server.mjs';
import { record } from './support/records.mjs';
import { JWT, bearer, token } from './support/token.mjs';
import { eventually } from './support/wait.mjs';

async function isDenied(t, options, expected) {
  const client = record(t, options);
  await client.reaches('denied');
  const { error } = client.connection;
  assert.ok(error instanceof DeniedError);
  const { reason, check, status } = error;
  assert.deepEqual({ reason, check, status }, expected);
  assert.ok(error.message.length > 10, error.message);
  return client;
}

test('request without credentials is denied', async (t) => {
  const broker = await Broker.start(t, JWT);
  const expected = { reason: 'unauthenticated', check: 'credentials', status: 401 };
  const client = await isDenied(t, { url: broker.url }, expected);
  assert.deepEqual(client.statuses, ['denied']);
});

test('user without the right is denied', async (t) => {
  const broker = await Broker.start(t, JWT);
  const auth = async () => token({ workspaces: ['other'] });
  await isDenied(t, { url: broker.url, auth }, { reason: 'forbidden', check: 'subscribe', status: 403 });
});

test('invalid workspace is denied', async (t) => {
  const broker = await Broker.start(t);
  const options = { url: broker.url, workspace: 'a b' };
  await isDenied(t, options, { reason: 'bad-workspace', check: undefined, status: 400 });
});

test('wrong base path is denied', async (t) => {
  const broker = await Broker.start(t);
  const options = { url: broker.url.replace('/api', '/other') };
  await isDenied(t, options, { reason: 'not-found', check: undefined, status: 404 });
});

test('headers of the application reach the broker', async (t) => {
  const broker = await Broker.start(t, JWT);
  const client = record(t, { url: broker.url, headers: bearer(token()) });
  await client.reaches('live');
});

test('ban ends an open connection', async (t) => {
  const broker = await Broker.start(t, JWT);
  const client = record(t, { url: broker.url, auth: async () => token() });
  await client.reaches('live');
  const command = JSON.stringify({ disconnect: { user: 'ann', for: 60 } });
  await broker.publishOnBus('tidings:control', command);
  await client.reaches('denied');
  assert.equal(client.connection.error.reason, 'disconnected');
  assert.deepEqual(client.statuses, ['live', 'away', 'denied']);
});

test('denial of the application ends a connection', async (t) => {
  const broker = await Broker.start(t, JWT);
  const auth = async () => {
    throw new DeniedError('your session has ended', { reason: 'signed-out' });
  };
  const client = record(t, { url: broker.url, auth });
  await client.reaches('denied');
  assert.equal(client.connection.error.reason, 'signed-out');
  assert.deepEqual(client.warnings, []);
});

test('other error of the application is temporary', async (t) => {
  const broker = await Broker.start(t, JWT);
  let calls = 0;
  const auth = () => {
    calls += 1;
    if (calls === 1) throw new Error('the app is away');
    if (calls === 2) return undefined;
    return token();
  };
  const client = record(t, { url: broker.url, auth });
  await client.reaches('live');
  assert.equal(calls, 3);
  assert.match(client.warnings[0], /auth failed: Error: the app is away/);
});

for (const status of [200, 403, 404]) {
  test(`page with the status ${status} instead of a broker is named once`, async (t) => {
    let requests = 0;
    const url = await startForeignServer(t, (_, response) => {
      requests += 1;
      response.writeHead(status, { 'content-type': 'text/html' }).end('<!doctype html>');
    });
    const client = record(t, { url });
    await eventually('the client tries again', () => requests === 2);
    await client.reaches('away');
    assert.equal(client.warnings.length, 1);
    assert.ok(client.warnings[0].includes(`${url}/workspaces/acme/events`), client.warnings[0]);
    assert.ok(client.warnings[0].includes(`${status} text/html`), client.warnings[0]);
  });
}

test('temporary response of a proxy is no fault of the app', async (t) => {
  let requests = 0;
  const url = await startForeignServer(t, (_, response) => {
    requests += 1;
    const status = [502, 429, 408][requests - 1] ?? 503;
    response.writeHead(status, { 'content-type': 'text/html' }).end('<!doctype html>');
  });
  const client = record(t, { url });
  await eventually('the client tries again', () => requests === 3);
  assert.deepEqual(client.warnings, []);
});
