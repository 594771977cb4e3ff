// A TCP proxy with the faults of networks and proxies.
import { connect, createServer } from 'node:net';

export class TcpProxy {
  port;
  /** The requests so far. A client may open connections that it does not use. */
  requests = 0;
  #target;
  #server;
  #pairs = new Set();
  #holdsBodies = false;
  #stallsNext = false;

  /** Starts a proxy in front of a port. It ends with the test. */
  static async start(test, target) {
    const proxy = new TcpProxy();
    proxy.#target = target;
    proxy.#server = createServer((client) => proxy.#accept(client));
    await new Promise((done) => proxy.#server.listen(0, '127.0.0.1', done));
    proxy.port = proxy.#server.address().port;
    proxy.url = `http://127.0.0.1:${proxy.port}/api`;
    test.after(() => {
      proxy.cut();
      proxy.#server.close();
    });
    return proxy;
  }

  #accept(client) {
    const server = connect(this.#target, '127.0.0.1');
    const pair = { client, server };
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
    client.on('data', (data) => {
      // Requests of these tests have no body.
      if (data.toString().startsWith('GET ')) this.requests += 1;
      if (!this.#stallsNext) return void server.write(data);
      this.#stallsNext = false;
      client.pause();
    });
    let head = '';
    server.on('data', (data) => {
      if (!this.#holdsBodies) return void client.write(data);
      if (head === undefined) return;
      head += data;
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      client.write(head.slice(0, end + 4));
      head = undefined;
    });
  }

  /** No byte passes any more on the open connections, and none of them ends. New ones work. */
  stall() {
    for (const { client, server } of this.#pairs) {
      client.pause();
      server.pause();
    }
  }

  /** The next request gets no response. */
  stallNext() {
    this.#stallsNext = true;
  }

  /** Resets the open connections. */
  cut() {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  }

  /** Passes the heads of responses on, and keeps their bodies, as a buffering proxy does. */
  holdBodies() {
    this.#holdsBodies = true;
  }
}
