// A real Redis server.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort } from './broker.mjs';
import { eventually } from './wait.mjs';

/** Starts a Redis, and waits until it replies. It ends with the test. `settings` are arguments. */
export async function startRedis(test, settings = []) {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'tidings-redis-'));
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory, '--save', '', ...settings];
  const server = { port, process: undefined };
  server.start = async () => {
    server.process = spawn('redis-server', options, { stdio: 'ignore' });
    await eventually('Redis replies', () => replies(port));
  };
  server.stop = async () => {
    const child = server.process;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await ended;
  };
  process.once('exit', () => server.process?.kill('SIGKILL'));
  test.after(async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  await server.start();
  return server;
}

/** Starts a cluster of three servers, and waits until each knows the others. */
export async function startRedisCluster(test) {
  const servers = [];
  while (servers.length < 3) servers.push(await startRedis(test, ['--cluster-enabled', 'yes', '--cluster-port', `${await freePort()}`]));
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`);
  const cli = (...args) => execFileSync('redis-cli', args, { encoding: 'utf8' });
  cli('--cluster', 'create', ...hosts, '--cluster-yes');
  const isReady = ({ port }) => cli('-p', `${port}`, 'CLUSTER', 'INFO').includes('cluster_state:ok');
  await eventually('the cluster is ready', async () => servers.every(isReady));
  return servers;
}

function replies(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      socket.destroy();
      resolve(`${data}`.startsWith('+PONG'));
    });
    socket.once('error', () => resolve(false));
  });
}
