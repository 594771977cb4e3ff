// A Redis, as a process at a port of its own.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';

import { freePort } from './site.mjs';

const { Redis } = createRequire(import.meta.url)('ioredis');

/** Starts a Redis and returns its URL. It ends with the test. */
export async function startRedis(test) {
  const port = await freePort();
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', tmpdir()];
  const child = spawn('redis-server', options, { stdio: 'ignore' });
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  test.after(() => {
    stop();
    process.off('exit', stop);
  });
  const url = `redis://127.0.0.1:${port}`;
  // The client tries again until the server listens.
  const client = new Redis(url, { maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  await client.ping();
  client.disconnect();
  return url;
}
