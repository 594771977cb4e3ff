// A server that sends the bytes that a test gives, for streams of other servers than ours.
import { createServer } from 'node:http';

import { openFetchStream } from '../../dist/fetch-stream.js';
import { sleep } from './wait.mjs';

/** Sends chunks to one client of the fetch transport. Returns what the client reports. */
export async function readChunks(test, chunks, { end = true } = {}) {
  const server = createServer(async (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    for (const chunk of chunks) {
      response.write(chunk);
      // So that each one is a chunk for the reader too.
      await sleep(20);
    }
    if (end) response.end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const stream = Object.assign(new AbortController(), { byteAt: 0 });
  test.after(() => stream.abort());
  const messages = [];
  const retries = [];
  const url = new URL(`http://127.0.0.1:${server.address().port}/`);
  const onMessage = (type, data, id) => messages.push([type, data, id]);
  const ended = openFetchStream(stream, url, {}, false, onMessage, { onRetry: (ms) => retries.push(ms) });
  // An aborted request is rejected.
  ended.catch(() => undefined);
  if (end) await ended;
  return { messages, retries };
}
