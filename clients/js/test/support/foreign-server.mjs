// A server that is no broker.
import { createServer } from 'node:http';

/** Starts a server for pages of any origin. It ends with the test. Returns its address. */
export async function startForeignServer(test, respond) {
  const server = createServer((request, response) => {
    response.setHeader('access-control-allow-origin', '*');
    respond(request, response);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/api`;
}

/** Sends the head of a stream, `retry:` and comments, as a proxy that keeps the rest. */
export function sendOnlyComments(request, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write('retry: 500\n\n');
  const timer = setInterval(() => response.write(':\n'), 200);
  response.once('close', () => clearInterval(timer));
}
