// The real broker, as a process on ports of its own.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { eventually } from './wait.mjs';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

/** `TIDINGS_PROGRAM`, or the debug build of this repository. Cargo builds it if it is missing. */
export function brokerProgram() {
  const named = process.env.TIDINGS_PROGRAM;
  if (named) return named;
  const program = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug', 'tidings');
  if (existsSync(program)) return program;
  const build = spawnSync('cargo', ['build', '--locked'], { cwd: ROOT, stdio: 'inherit' });
  if (build.status !== 0) throw new Error('the broker was not built; TIDINGS_PROGRAM may name one');
  return program;
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// A test program that crashes leaves no broker.
const children = new Set();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

export class Broker {
  #settings;
  #directory = mkdtempSync(join(tmpdir(), 'tidings-client-'));
  #process;
  #log = '';

  /** Starts a broker on the embedded bus, and waits until it is ready. It ends with the test. */
  static async start(test, settings = {}) {
    const broker = new Broker();
    const [port, admin, embedded] = [await freePort(), await freePort(), await freePort()];
    broker.port = port;
    broker.admin = `http://127.0.0.1:${admin}`;
    broker.embedded = embedded;
    broker.url = `http://127.0.0.1:${port}/api`;
    broker.#settings = {
      'server.listen': `127.0.0.1:${port}`,
      'admin.listen': `127.0.0.1:${admin}`,
      'embedded.listen': `127.0.0.1:${embedded}`,
      'embedded.path': join(broker.#directory, 'logs'),
      'sse.heartbeat_seconds': 1,
      'sse.retry_ms': 200,
      'server.drain_delay_seconds': 0,
      'server.drain_seconds': 0.1,
      ...settings,
    };
    test.after(async () => {
      await broker.kill();
      rmSync(broker.#directory, { recursive: true, force: true });
    });
    await broker.restart();
    return broker;
  }

  /** Starts the program again, with the same settings and the same file. */
  async restart() {
    await this.kill();
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('TIDINGS'));
    const set = Object.entries(this.#settings).map(([key, value]) => {
      return [`TIDINGS__${key.toUpperCase().replaceAll('.', '__')}`, String(value)];
    });
    this.#process = spawn(brokerProgram(), ['serve'], {
      cwd: this.#directory,
      env: Object.fromEntries([...own, ...set]),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const output of [this.#process.stdout, this.#process.stderr]) {
      output.on('data', (data) => (this.#log += data));
    }
    const child = this.#process;
    children.add(child);
    await eventually('the broker is ready', async () => {
      if (child.exitCode !== null) throw new Error(`the broker ended:\n${this.#log}`);
      return (await fetch(`${this.admin}/ready`).catch(() => undefined))?.ok;
    });
  }

  /** Ends the program as a crash does. */
  kill() {
    return this.#end('SIGKILL');
  }

  /** Drains the program. */
  terminate() {
    return this.#end('SIGTERM');
  }

  async #end(signal) {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill(signal);
    await ended;
  }

  /** Publishes a durable event once, until the broker has acknowledged it. Returns its id. */
  async publish(workspace, event, headers = {}) {
    const body = typeof event === 'string' ? event : JSON.stringify(event);
    const key = `"${crypto.randomUUID()}"`;
    return eventually('the event is published', async () => {
      const response = await fetch(`${this.url}/workspaces/${workspace}/events`, {
        method: 'POST',
        body,
        headers: { 'Idempotency-Key': key, ...headers },
      }).catch(() => undefined);
      if (response?.status >= 400 && response.status < 500) throw new Error(await response.text());
      return response?.ok ? (await response.json()).id : undefined;
    });
  }

  /** Publishes on a channel of the embedded bus: a live event, or a command. */
  async publishOnBus(channel, message) {
    const bulks = ['PUBLISH', channel, message].map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`);
    const socket = connect(this.embedded, '127.0.0.1');
    let reply = '';
    socket.on('data', (data) => (reply += data));
    socket.write(`*3\r\n${bulks.join('')}`);
    await eventually('the bus replies', () => reply.endsWith('\r\n'));
    socket.destroy();
    if (!/^:[1-9]/.test(reply)) throw new Error(`no node received it: ${reply}`);
  }

  /** The number of open streams. */
  async streams() {
    const metrics = await (await fetch(`${this.admin}/metrics`)).text();
    return Number(/^tidings_subscribers (\d+)/m.exec(metrics)?.[1] ?? NaN);
  }

  get log() {
    return this.#log;
  }
}
