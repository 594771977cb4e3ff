// A proxy that passes publications on, and loses their replies.
import { connect, createServer } from 'node:net';

const PUBLICATION = /^POST |EVALSHA/;

/** Starts a proxy in front of a port. `lose(n)` loses the replies of the next n publications. */
export async function startLossyProxy(test, target) {
  const pairs = new Set();
  const proxy = { lost: 0, port: 0 };
  let left = 0;
  proxy.lose = (count) => (left = count);
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    const pair = [client, upstream];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    let losesNext = false;
    client.on('data', (data) => {
      if (left > 0 && PUBLICATION.test(data.toString())) losesNext = true;
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (!losesNext) return void client.write(data);
      left -= 1;
      proxy.lost += 1;
      end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  proxy.port = server.address().port;
  test.after(() => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
    server.close();
  });
  return proxy;
}
