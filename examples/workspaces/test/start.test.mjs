// `./start` starts the app and its broker, and ends both.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { brokerProgram } from '../../../clients/js/test/support/broker.mjs';
import { logOf } from './support/log.mjs';
import { EXAMPLE, Session, freePort } from './support/site.mjs';
import { eventually } from './support/wait.mjs';

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`start runs app and broker until ${signal}`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'tidings-start-'));
    const [port, broker, admin, bus] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
    const child = spawn('./start', ['--no-build'], {
      cwd: EXAMPLE,
      // Ctrl-C reaches all programs of a terminal.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        TIDINGS_PROGRAM: brokerProgram(),
        PORT: `${port}`,
        DATABASE_PATH: join(directory, 'workspaces.db'),
        REDIS_URL: `redis://127.0.0.1:${bus}`,
        TIDINGS_URL: `http://localhost:${broker}/api`,
        TIDINGS_INTERNAL_URL: `http://127.0.0.1:${broker}/api`,
        TIDINGS__SERVER__LISTEN: `127.0.0.1:${broker}`,
        TIDINGS__ADMIN__LISTEN: `127.0.0.1:${admin}`,
        TIDINGS__EMBEDDED__LISTEN: `127.0.0.1:${bus}`,
        TIDINGS__EMBEDDED__PATH: join(directory, 'logs'),
        TIDINGS__AUTH__FORWARD__URL: `http://127.0.0.1:${port}/internal/tidings/{workspace}`,
        TIDINGS__CORS__ORIGINS: `http://localhost:${port}`,
        TIDINGS__SERVER__DRAIN_DELAY_SECONDS: '0',
        TIDINGS__SERVER__DRAIN_SECONDS: '0.1',
      },
    });
    let log = '';
    for (const output of [child.stdout, child.stderr]) output.on('data', (data) => (log += data));
    const ended = new Promise((done) => child.once('exit', (code) => done(code)));
    t.after(async () => {
      if (child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    });
    const responds = (address) => fetch(address).then((response) => response.status, () => undefined);
    const addresses = [`http://127.0.0.1:${port}/login`, `http://127.0.0.1:${admin}/ready`];
    for (const address of addresses) {
      await eventually(`${address} responds`, async () => {
        assert.equal(child.exitCode, null, log);
        return (await responds(address)) === 200;
      });
    }

    const session = new Session(`http://127.0.0.1:${port}`);
    await session.signIn('ada');
    assert.equal((await session.rename('design', 'from the start')).status, 200);
    const site = { redisUrl: `redis://127.0.0.1:${bus}` };
    await eventually('the event is published', async () => (await logOf(site)).length === 1);
    const { status } = await fetch(`http://127.0.0.1:${broker}/api/workspaces/acme/access`, {
      headers: { cookie: session.cookie, origin: `http://localhost:${port}` },
    });
    assert.equal(status, 204);

    process.kill(signal === 'SIGINT' ? -child.pid : child.pid, signal);
    assert.equal(await ended, signal === 'SIGINT' ? 130 : 143, log);
    for (const address of addresses) assert.equal(await responds(address), undefined);
  });
}
