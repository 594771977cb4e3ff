// The whole example: its broker, its app as a production server, and its database.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Broker, freePort } from '../../../../clients/js/test/support/broker.mjs';
import { eventually } from './wait.mjs';

export { Broker, freePort };

/** The folder of the example, which `scripts/test-example` has built. */
export const EXAMPLE = fileURLToPath(new URL('../..', import.meta.url));

export const Database = createRequire(import.meta.url)('better-sqlite3');

// A test program that crashes leaves no app.
const children = new Set();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** The app of the example, as a process at a port of its own. */
export class App {
  #environment;
  #process;
  #log = '';

  constructor(folder, port, environment) {
    this.folder = folder;
    this.port = port;
    this.origin = environment.NEXTAUTH_URL;
    this.#environment = environment;
  }

  get pid() {
    return this.#process.pid;
  }

  get log() {
    return this.#log;
  }

  /** Starts the program, with changes of its environment, and waits until it responds. */
  async start(changes = {}) {
    const { PATH, HOME } = process.env;
    const own = { PATH, HOME, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1' };
    const program = ['node_modules/next/dist/bin/next', 'start', '--hostname', '127.0.0.1'];
    const child = spawn(process.execPath, [...program, '--port', `${this.port}`], {
      cwd: this.folder,
      env: { ...own, ...this.#environment, ...changes },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    children.add(child);
    for (const output of [child.stdout, child.stderr]) output.on('data', (data) => (this.#log += data));
    await eventually('the app responds', async () => {
      if (child.exitCode !== null) throw new Error(`the app ended:\n${this.#log}`);
      const address = `http://127.0.0.1:${this.port}/internal/tidings/acme`;
      return (await fetch(address).catch(() => undefined))?.status === 401;
    });
  }

  /** Ends the program as a crash does. */
  async kill() {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await ended;
    children.delete(child);
  }
}

export class Site {
  /**
   * Starts a broker and the app in front of a new database. They end with the test.
   *
   * `settings` are further settings of the broker. `environment` has further variables of the app.
   */
  static async start(test, { settings = {}, environment = {}, folder = EXAMPLE } = {}) {
    const site = new Site();
    const directory = mkdtempSync(join(tmpdir(), 'tidings-example-'));
    const port = await freePort();
    const origin = environment.NEXTAUTH_URL ?? `http://localhost:${port}`;
    site.directory = directory;
    site.database = join(directory, 'workspaces.db');
    site.appPort = port;
    // A copy, which a deploy can change.
    site.schemas = join(directory, 'events');
    cpSync(join(folder, 'events'), site.schemas, { recursive: true });
    test.after(async () => {
      await site.app?.kill();
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    });
    site.brokerSettings = {
      'auth.mode': 'forward',
      'auth.forward.url': `http://127.0.0.1:${port}/internal/tidings/{workspace}`,
      'cors.origins': origin,
      'server.trusted_proxies': '127.0.0.1',
      'embedded.sync': 'always',
      'schemas.path': site.schemas,
      'schemas.mode': 'enforce',
      ...settings,
    };
    site.broker = await Broker.start(test, site.brokerSettings);
    site.redisUrl = settings['redis.url'] ?? `redis://127.0.0.1:${site.broker.embedded}`;
    site.app = new App(folder, port, {
      DATABASE_PATH: site.database,
      REDIS_URL: site.redisUrl,
      NEXTAUTH_URL: origin,
      NEXTAUTH_SECRET: 'only-for-tests',
      TIDINGS_URL: `http://localhost:${site.broker.port}/api`,
      TIDINGS_INTERNAL_URL: site.broker.url,
      ...environment,
    });
    await site.app.start();
    return site;
  }

  get origin() {
    return this.app.origin;
  }

  /** Runs a function with the database of the app, beside the app. */
  query(run) {
    const database = new Database(this.database);
    try {
      database.pragma('busy_timeout = 5000');
      return run(database);
    } finally {
      database.close();
    }
  }

  /** The events that the app has not published yet. */
  outbox() {
    return this.query((database) => database.prepare('select * from outbox order by id').all());
  }

  /** Signs in without a browser. Returns the session. */
  async signIn(name) {
    const session = new Session(`http://127.0.0.1:${this.appPort}`);
    await session.signIn(name);
    return session;
  }
}

/** The session of a user, without a browser. */
export class Session {
  #cookies = new Map();

  constructor(origin) {
    this.origin = origin;
  }

  get cookie() {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  async fetch(path, { headers, ...options } = {}) {
    const response = await fetch(new URL(path, this.origin), {
      redirect: 'manual',
      headers: { ...headers, cookie: this.cookie },
      ...options,
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      this.#cookies.set(name, value);
    }
    return response;
  }

  async signIn(name) {
    const { csrfToken } = await (await this.fetch('/api/auth/csrf')).json();
    const body = new URLSearchParams({ csrfToken, name, password: 'tidings', json: 'true' });
    const response = await this.fetch('/api/auth/callback/credentials', { method: 'POST', body });
    if (!response.ok) throw new Error(`${name} cannot sign in: ${response.status}`);
  }

  rename(channelId, name, workspaceId = 'acme') {
    return this.fetch(`/api/workspaces/${workspaceId}/channels/${channelId}`, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name }),
    });
  }
}
