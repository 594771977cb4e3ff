// Follows docs/guides/react.md literally, in an empty directory. Then two browsers use the app.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { brokerProgram, freePort } from '../support/broker.mjs';
import { Browser } from '../support/browser.mjs';
import { eventually } from '../support/wait.mjs';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
/** For a command of npm or Next.js on a busy machine. */
const SLOW_MS = 900_000;
/** For a page on a busy machine. */
const PAGE_MS = 120_000;

/** The code blocks of the guide, in order. */
function blocks() {
  const guide = readFileSync(join(ROOT, 'docs/guides/react.md'), 'utf8');
  return [...guide.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({ language, text }));
}

/** A user that follows the guide. All that it starts ends with the test. */
class Reader {
  home = mkdtempSync(join(tmpdir(), 'tidings-guide-'));
  cwd = this.home;
  output = '';
  #children = new Set();

  constructor(test) {
    const config = (name) => execFileSync('npm', ['config', 'get', name]).toString().trim();
    const own = Object.entries(process.env).filter(([name]) => !/^(TIDINGS|NODE_|npm_)/.test(name));
    this.env = {
      ...Object.fromEntries(own),
      npm_config_cache: config('cache'),
      npm_config_userconfig: config('userconfig'),
      HOME: this.home,
      PATH: `${join(this.home, 'bin')}:${process.env.PATH}`,
      NEXT_TELEMETRY_DISABLED: '1',
    };
    const stop = () => this.#children.forEach((child) => this.end(child));
    process.once('exit', stop);
    test.after(() => {
      stop();
      rmSync(this.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    });
    mkdirSync(join(this.home, 'bin'));
    symlinkSync(brokerProgram(), join(this.home, 'bin/tidings'));
    // The clone, with the files of the package alone.
    const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'clients/js', 'scripts/publish.lua'], {
      cwd: ROOT,
    });
    for (const file of files.toString().trim().split('\n')) {
      cpSync(join(ROOT, file), join(this.home, 'tidings', file));
    }
  }

  /** Runs commands to their end, and stays in their directory. */
  async run(script) {
    const where = join(this.home, 'cwd');
    const child = this.start(`set -e\n${script}\npwd > ${where}`);
    const status = await new Promise((done) => {
      const timer = setTimeout(() => this.end(child), SLOW_MS);
      child.once('exit', (code) => (clearTimeout(timer), done(code)));
    });
    if (status !== 0) throw new Error(`${script}\nfailed:\n${this.output.slice(-4_000)}`);
    this.cwd = readFileSync(where, 'utf8').trim();
  }

  /** Starts a command that does not end by itself, in a process group of its own. */
  start(script, env = {}) {
    const child = spawn('bash', ['-c', script], {
      cwd: this.cwd,
      env: { ...this.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const output of [child.stdout, child.stderr]) output.on('data', (data) => (this.output += data));
    this.#children.add(child);
    return child;
  }

  /** Ends a command and its children as a crash does. */
  end(child) {
    if (!this.#children.delete(child)) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }

  write(file, text) {
    mkdirSync(dirname(join(this.cwd, file)), { recursive: true });
    writeFileSync(join(this.cwd, file), text);
  }
}

/** A window with the page. */
async function openWindow(t, origin) {
  const browser = await Browser.start(t);
  await browser.open(origin);
  const read = (selector) => browser.run(`return document.querySelector('${selector}')?.textContent ?? null`);
  return {
    browser,
    shows: (selector, text) => {
      return eventually(`${selector} is ${text}`, async () => (await read(selector)) === text, PAGE_MS);
    },
    rename: () => browser.run("document.querySelector('#general + button, #general ~ button').click()"),
  };
}

test('guide of React leads to a page that survives its broker', async (t) => {
  const reader = new Reader(t);
  const [pagePort, port, admin, embedded] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const brokerEnv = {
    TIDINGS__SERVER__LISTEN: `127.0.0.1:${port}`,
    TIDINGS__ADMIN__LISTEN: `127.0.0.1:${admin}`,
    TIDINGS__EMBEDDED__LISTEN: `127.0.0.1:${embedded}`,
    TIDINGS__SSE__RETRY_MS: '500',
  };
  let brokerScript;
  let broker;
  const startBroker = async (env = {}) => {
    broker = reader.start(`exec env ${brokerScript}`, { ...brokerEnv, ...env });
    await eventually('the broker is ready', async () => {
      return (await fetch(`http://127.0.0.1:${admin}/ready`).catch(() => undefined))?.ok;
    }, PAGE_MS);
  };

  for (const { language, text } of blocks()) {
    // Ports of this run.
    const block = text.replaceAll('8080', port).replaceAll('localhost:3000', `localhost:${pagePort}`);
    if (language !== 'sh') {
      const [, file] = /^\/\/ (\S+)\n/.exec(block);
      reader.write(file, block);
    } else if (/ tidings\n$/.test(block)) {
      brokerScript = block;
      await startBroker();
    } else if (/^npm start\n$/m.test(block)) {
      await reader.run(block.replace(/^npm start\n$/m, ''));
      reader.start('exec npm start', { PORT: String(pagePort) });
    } else {
      await reader.run(block);
    }
  }

  const origin = `http://localhost:${pagePort}`;
  const html = await eventually('the app serves its page', async () => {
    const response = await fetch(origin).catch(() => undefined);
    return response?.ok ? response.text() : undefined;
  }, PAGE_MS);
  assert.match(html, /General/, 'the server renders the state');

  const [first, second] = await Promise.all([openWindow(t, origin), openWindow(t, origin)]);
  for (const window of [first, second]) await window.shows('[role=status]', 'live');
  const loads = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/api/channels')).length";
  assert.equal(await first.browser.run(`return ${loads}`), 0, 'the page continues from the position of the server');
  await first.rename();
  for (const window of [first, second]) await window.shows('#general', 'General!');

  // The first broker forgets its log, and the next ones keep it.
  let name = 'General!';
  for (const hasLog of [false, true]) {
    reader.end(broker);
    for (const window of [first, second]) await window.shows('[role=status]', 'away');
    await first.rename();
    name += '!';
    await eventually('the state has changed', async () => {
      return (await (await fetch(`${origin}/api/channels`)).json()).general === name;
    }, PAGE_MS);
    await startBroker({ TIDINGS__EMBEDDED__PATH: join(reader.home, 'logs') });
    for (const window of [first, second]) {
      await window.shows('#general', name);
      await window.shows('[role=status]', 'live');
    }
    const count = await second.browser.run(`return ${loads}`);
    assert.ok(hasLog || count > 0, 'the page has loaded the state again');
  }

  // A renamed field breaks the compilation.
  const schema = join(reader.cwd, 'events/CHANNEL_UPDATED.json');
  writeFileSync(schema, readFileSync(schema, 'utf8').replaceAll('"name"', '"title"'));
  await reader.run('npx tidings-types events events.ts');
  await assert.rejects(reader.run('npx tsc --noEmit'), /Property 'name' does not exist/);
});
