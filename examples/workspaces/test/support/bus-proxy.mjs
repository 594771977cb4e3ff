// A TCP proxy between the app and the bus, which can hold what one side sends.
import { connect, createServer } from 'node:net';

export class BusProxy {
  /** What does not pass: `requests`, `replies` or nothing. It is lost when the app ends. */
  holds;
  port;

  /** Starts a proxy in front of a port. It ends with the test. */
  static async start(test, target) {
    const proxy = new BusProxy();
    const pairs = new Set();
    const server = createServer((app) => {
      const bus = connect(target, '127.0.0.1');
      const pair = [app, bus];
      pairs.add(pair);
      const end = () => {
        pairs.delete(pair);
        for (const socket of pair) socket.destroy();
      };
      for (const socket of pair) socket.on('error', end).on('close', end);
      app.on('data', (data) => proxy.holds === 'requests' || bus.write(data));
      bus.on('data', (data) => proxy.holds === 'replies' || app.write(data));
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    proxy.port = server.address().port;
    test.after(() => {
      for (const socket of [...pairs].flat()) socket.destroy();
      server.close();
    });
    return proxy;
  }
}
