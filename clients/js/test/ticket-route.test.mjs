// Tickets from a route of an app, with a real broker, and a server that calls the route handler.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { DeniedError, ticketRoute } from '../dist/next/index.js';
import { ticketAuth } from '../dist/ticket/index.js';
import { Broker } from './support/broker.mjs';
import { NumberedPublisher, numbersTo, record } from './support/records.mjs';
import { bearer, JWT, token } from './support/token.mjs';
import { eventually } from './support/wait.mjs';

/** An app whose route handler gets each request as a `Request`. */
async function startApp(t, options) {
  const errors = [];
  const handler = ticketRoute({ secret: JWT['auth.jwt.secret'], ...options });
  const server = createServer(async (incoming, outgoing) => {
    const chunks = await incoming.toArray();
    const request = new Request(`http://localhost:3000${incoming.url}`, {
      method: incoming.method,
      headers: incoming.headers,
      body: Buffer.concat(chunks),
    });
    const response = await handler(request).catch((error) => {
      errors.push(error);
      return new Response('Internal Server Error', { status: 500 });
    });
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address();
  return { route: `http://127.0.0.1:${port}/api/live-ticket`, host: `127.0.0.1:${port}`, errors };
}

/** Connects as a page with tickets of a route. */
const page = (t, broker, { route }) => record(t, { url: broker.url, auth: ticketAuth(route, 'acme') });

const post = (route, body = '{"workspace":"acme"}', headers = {}) => fetch(route, { method: 'POST', body, headers });

test('page streams as the user of its session', async (t) => {
  const broker = await Broker.start(t, JWT);
  const asked = [];
  const app = await startApp(t, {
    url: `${broker.url}/`,
    async authorize(request, workspace) {
      asked.push([workspace, await request.text()]);
      return { user: 'ann é' };
    },
  });
  const records = page(t, broker, app);
  await records.reaches('live');
  assert.deepEqual(asked, [['acme', '{"workspace":"acme"}']]);
  const envelope = { data: { type: 'NUMBER', n: 1 }, to: ['ann é'] };
  const headers = { ...bearer(token()), 'Content-Type': 'application/vnd.tidings.event+json' };
  await broker.publish('acme', envelope, headers);
  await records.has(1);

  const response = await post(app.route);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('cache-control'), 'no-store');
  const { ticket, expiresAt } = await response.json();
  assert.ok(Math.abs(expiresAt - Date.now() - 900_000) < 60_000, `${expiresAt}`);
  // The ticket opens a stream of no other workspace.
  const other = await fetch(`${broker.url}/workspaces/other/events?ticket=${ticket}`);
  assert.equal(other.status, 403);
});

test('stream is renewed before its end, and none of its events is lost', async (t) => {
  const broker = await Broker.start(t, JWT);
  let requests = 0;
  const authorize = () => {
    requests += 1;
    return { user: 'ann' };
  };
  const app = await startApp(t, { url: broker.url, authorize, lifetimeSeconds: 9 });
  const records = page(t, broker, app);
  await records.reaches('live');
  const publisher = new NumberedPublisher(t, broker, { headers: bearer(token()) });
  await eventually('three tickets are issued', () => requests >= 3);
  const count = await publisher.stop();
  await records.has(count);
  assert.deepEqual(records.numbers(), numbersTo(count));
  assert.deepEqual(records.resets, []);
});

test('end of the session is the end of the stream, and the page is denied', async (t) => {
  const broker = await Broker.start(t, JWT);
  const expiresAt = new Date(Date.now() + 8_000).toISOString();
  const app = await startApp(t, { url: broker.url, authorize: () => ({ user: 'ann', expiresAt }) });
  const records = page(t, broker, app);
  await records.reaches('live');
  await records.reaches('denied');
  const { reason, check, status, message } = records.connection.error;
  assert.deepEqual({ reason, check, status }, { reason: 'unauthenticated', check: 'credentials', status: 401 });
  assert.match(message, /your session has ended/);
});

test('refusal of the app is final and has its text', async (t) => {
  const broker = await Broker.start(t, JWT);
  for (const [authorize, expected] of [
    [() => null, { reason: 'unauthenticated', check: 'credentials', status: 401 }],
    [() => Promise.reject(new DeniedError('you are no member of acme')), { message: 'you are no member of acme', reason: 'forbidden', check: 'app', status: 403 }],
    [() => Promise.reject(new DeniedError('unpaid', { reason: 'unpaid', check: 'plan', status: 402 })), { message: 'unpaid', reason: 'unpaid', check: 'plan', status: 402 }],
    [() => ({ user: 'ann', expiresAt: Date.now() - 1 }), { status: 401 }],
  ]) {
    const records = page(t, broker, await startApp(t, { url: broker.url, authorize }));
    await records.reaches('denied');
    const { error } = records.connection;
    for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value);
  }
});

test('failure of the app or the broker is temporary', async (t) => {
  const broker = await Broker.start(t, JWT);
  let isBroken = true;
  const authorize = () => {
    if (isBroken) throw new Error('no database');
    return { user: 'ann' };
  };
  const app = await startApp(t, { url: broker.url, authorize });
  const records = page(t, broker, app);
  await records.reaches('away');
  assert.match(app.errors[0].message, /no database/);
  isBroken = false;
  await records.reaches('live');

  await broker.kill();
  const response = await post(app.route);
  assert.equal(response.status, 503);
  assert.ok(Number(response.headers.get('retry-after')) >= 1);
  assert.equal((await response.json()).type, 'urn:tidings:problem:unavailable');
  await broker.restart();
  await records.reaches('live');
});

test('ban and rate limit of the broker reach the page', async (t) => {
  const broker = await Broker.start(t, { ...JWT, 'auth.tickets_per_user': 1 });
  const app = await startApp(t, { url: broker.url, authorize: () => ({ user: 'ann' }) });
  assert.equal((await post(app.route)).status, 200);
  const limited = await post(app.route);
  assert.equal(limited.status, 429);
  assert.ok(Number(limited.headers.get('retry-after')) >= 1);

  await broker.publishOnBus('tidings:control', '{"disconnect":{"user":"ann","for":600}}');
  const records = page(t, broker, app);
  await records.reaches('denied');
  assert.equal(records.connection.error.reason, 'disconnected');
});

test('wrong secret is an error of the app', async (t) => {
  const broker = await Broker.start(t, JWT);
  for (const [secret, text] of [
    [undefined, /`secret` has 0 bytes, and HS256 needs 32/],
    ['short', /`secret` has 5 bytes/],
    ['x'.repeat(32), /the broker refuses the token of the app with status 401: .*signature/],
  ]) {
    const app = await startApp(t, { url: broker.url, secret, authorize: () => ({ user: 'ann' }) });
    assert.equal((await post(app.route)).status, 500);
    assert.match(app.errors[0].message, text);
  }
});

test('longer algorithms and further claims are those of the broker', async (t) => {
  for (const algorithm of ['HS384', 'HS512']) {
    const secret = 'é'.repeat(32);
    const settings = { 'auth.jwt.algorithm': algorithm, 'auth.jwt.secret': secret, 'auth.jwt.audience': 'events' };
    const broker = await Broker.start(t, { ...JWT, ...settings });
    const options = { url: broker.url, secret, algorithm, claims: { aud: 'events' } };
    const app = await startApp(t, { ...options, authorize: () => ({ user: 'ann' }) });
    assert.equal((await post(app.route)).status, 200, `${app.errors}`);
  }
});

test('page of another site gets no ticket', async (t) => {
  const broker = await Broker.start(t, JWT);
  let requests = 0;
  const authorize = () => {
    requests += 1;
    return { user: 'ann' };
  };
  const app = await startApp(t, { url: broker.url, authorize });
  // `fetch` may not set these headers, and Node's sends what it is given.
  const status = async (headers) => (await post(app.route, undefined, headers)).status;
  for (const headers of [
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site', Origin: `http://${app.host}` },
    { Origin: 'https://evil.example' },
    { Origin: 'null' },
    { Origin: `http://${app.host}`, 'X-Forwarded-Host': 'app.example.com' },
  ]) {
    assert.equal(await status(headers), 403, JSON.stringify(headers));
  }
  assert.equal(requests, 0);
  for (const headers of [
    { 'Sec-Fetch-Site': 'same-origin' },
    { Origin: `http://${app.host}` },
    { Origin: 'https://app.example.com', 'X-Forwarded-Host': 'app.example.com' },
  ]) {
    assert.equal(await status(headers), 200, JSON.stringify(headers));
  }
});

test('pattern and other texts are no workspace', async (t) => {
  const broker = await Broker.start(t, JWT);
  const app = await startApp(t, { url: broker.url, authorize: () => assert.fail('the app is asked') });
  for (const workspace of ['*', 'team-*', '', 'a/b', 'acme\n', 5, ['acme'], null, 'w'.repeat(129)]) {
    const response = await post(app.route, JSON.stringify({ workspace }));
    assert.equal(response.status, 400, `${workspace}`);
    assert.equal((await response.json()).type, 'urn:tidings:problem:bad-ticket-request');
  }
  for (const body of ['', 'null', '{', '"acme"']) assert.equal((await post(app.route, body)).status, 400);
});

test('clock of the page may differ from that of the app', async (t) => {
  const now = Date.now() + 3_600_000;
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ ticket: 'x', now, expiresAt: now + 60_000 }));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const { ticket, expiresAt } = await ticketAuth(`http://127.0.0.1:${server.address().port}/`, 'acme')();
  assert.equal(ticket, 'x');
  assert.ok(Math.abs(expiresAt - Date.now() - 60_000) < 30_000, `${expiresAt}`);
});
