// A proxy that states a version of schemas in the `connected` event of the broker behind it.
import { createServer } from 'node:http';

/** Returns `{ url, version, cut() }`; `version` may change. It ends with the test. */
export async function startSchemasProxy(test, broker, version) {
  const proxy = { version };
  const server = createServer(async (request, response) => {
    const { host, connection, ...headers } = request.headers;
    const stop = new AbortController();
    response.once('close', () => stop.abort());
    try {
      const upstream = await fetch(`http://127.0.0.1:${broker.port}${request.url}`, {
        headers,
        signal: stop.signal,
      });
      response.writeHead(upstream.status, Object.fromEntries(upstream.headers));
      const member = `"schemas":"${proxy.version}",`;
      for await (const chunk of upstream.body.pipeThrough(new TextDecoderStream())) {
        response.write(chunk.replace('{"type":"connected",', (start) => start + member));
      }
    } catch {
      // The broker, or the client, has ended the stream.
    }
    response.destroy();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  proxy.url = `http://127.0.0.1:${server.address().port}/api`;
  proxy.cut = () => server.closeAllConnections();
  test.after(() => {
    proxy.cut();
    server.close();
  });
  return proxy;
}
