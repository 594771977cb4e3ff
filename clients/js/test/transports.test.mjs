// The responses that a stream may have, for the fetch transport, as the tests of the web platform
// (`eventsource/`) and the HTML standard have them.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { openFetchStream } from '../dist/fetch-stream.js';
import { eventually } from './support/wait.mjs';

/** Serves requests by `respond`, and opens a stream. Returns the messages and the end. */
async function open(t, respond, { headers = {}, onEvent } = {}) {
  const server = createServer(respond);
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const stream = Object.assign(new AbortController(), { byteAt: 0 });
  t.after(() => stream.abort());
  const messages = [];
  const url = new URL(`http://127.0.0.1:${server.address().port}/`);
  const onMessage = (type, data) => {
    messages.push(data);
    onEvent?.(stream);
  };
  const ended = openFetchStream(stream, url, headers, false, onMessage, { onRetry() {} });
  ended.catch(() => undefined);
  return { stream, messages, ended };
}

const EVENT = 'data: a\n\n';

for (const type of [
  'text/event-stream',
  'text/event-stream;',
  'text/event-stream; charset=utf-8',
  // The encoding is UTF-8, whatever the parameter says.
  'text/event-stream; charset=windows-1252',
  'text/event-stream;x=y',
]) {
  test(`stream may have the type ${type}`, async (t) => {
    const { messages, ended } = await open(t, (_, response) => {
      response.writeHead(200, { 'content-type': type });
      response.end('data: größer\n\n');
    });
    assert.deepEqual(await ended, {});
    assert.deepEqual(messages, ['größer']);
  });
}

for (const type of ['text/plain', 'text/x-bogus', 'application/json', undefined]) {
  test(`response of the type ${type} is no stream`, async (t) => {
    const { stream, messages, ended } = await open(t, (_, response) => {
      response.writeHead(200, type && { 'content-type': type });
      response.end(EVENT);
    });
    const { denied } = await ended;
    assert.equal(denied, undefined);
    assert.equal(stream.headAt, undefined);
    assert.deepEqual(messages, []);
  });
}

for (const status of [204, 205, 210, 299, 404, 410, 503]) {
  test(`response of the status ${status} is no stream`, async (t) => {
    const { stream, messages, ended } = await open(t, (_, response) => {
      response.writeHead(status, { 'content-type': 'text/event-stream' });
      response.end(EVENT);
    });
    const { denied } = await ended;
    assert.equal(denied, undefined);
    assert.equal(stream.headAt, undefined);
    assert.deepEqual(messages, []);
  });
}

for (const status of [301, 302, 303, 307, 308]) {
  test(`redirect by ${status} is followed`, async (t) => {
    const { messages, ended } = await open(t, (request, response) => {
      if (request.url === '/') return response.writeHead(status, { location: '/stream' }).end();
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(EVENT);
    });
    await ended;
    assert.deepEqual(messages, ['a']);
  });
}

test('request has the headers of the client', async (t) => {
  let received;
  const headers = { Accept: 'text/event-stream', Authorization: 'Bearer x' };
  const respond = (request, response) => {
    received = request.headers;
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(EVENT);
  };
  await (await open(t, respond, { headers })).ended;
  assert.equal(received.accept, 'text/event-stream');
  assert.equal(received.authorization, 'Bearer x');
});

test('aborted stream closes its connection and reports nothing', async (t) => {
  let isClosed = false;
  const { stream, messages } = await open(t, (request, response) => {
    request.socket.once('close', () => (isClosed = true));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(EVENT);
  });
  await eventually('the event arrives', () => messages.length === 1);
  stream.abort();
  await eventually('the connection is closed', () => isClosed);
  assert.deepEqual(messages, ['a']);
});

test('stream closed by a handler reports no further event of a chunk', async (t) => {
  const respond = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(EVENT.repeat(3));
  };
  const { messages } = await open(t, respond, { onEvent: (stream) => stream.abort() });
  await eventually('the event arrives', () => messages.length > 0);
  assert.deepEqual(messages, ['a']);
});

test('broken connection rejects, a clean end does not', async (t) => {
  const broken = await open(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(EVENT, () => response.destroy());
  });
  await assert.rejects(broken.ended);
  const clean = await open(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(EVENT);
  });
  assert.deepEqual(await clean.ended, {});
});
