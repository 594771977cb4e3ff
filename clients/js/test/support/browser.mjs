// A real browser: headless Chromium, driven through chromedriver.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { freePort } from './broker.mjs';
import { eventually } from './wait.mjs';

export class Browser {
  #session;

  /** Starts a browser with one empty page. It ends with the test. */
  static async start(test, { acceptInsecureCerts = false } = {}) {
    const browser = new Browser();
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'tidings-browser-'));
    const driver = spawn('chromedriver', [`--port=${port}`], {
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: directory },
    });
    let failure;
    driver.once('error', (error) => (failure = error));
    const stop = () => driver.kill('SIGKILL');
    process.once('exit', stop);
    const driverUrl = `http://127.0.0.1:${port}`;
    test.after(async () => {
      // Its session ends the browser before the driver.
      if (browser.#session) await fetch(browser.#session, { method: 'DELETE' }).catch(() => undefined);
      stop();
      process.off('exit', stop);
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    });
    await eventually('chromedriver listens', async () => {
      if (failure) throw failure;
      return (await fetch(`${driverUrl}/status`).catch(() => undefined))?.ok;
    });
    const args = [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-quic',
      '--disable-sync',
      '--disable-background-networking',
      '--disable-component-update',
      '--no-first-run',
      '--remote-debugging-pipe',
      `--user-data-dir=${join(directory, 'profile')}`,
    ];
    const capabilities = { alwaysMatch: { acceptInsecureCerts, 'goog:chromeOptions': { args } } };
    const { sessionId } = await command(`${driverUrl}/session`, { capabilities });
    browser.#session = `${driverUrl}/session/${sessionId}`;
    return browser;
  }

  /** Calls a command of WebDriver: a `POST` with a body, or a `GET` without one. */
  webDriver(path, body) {
    return command(`${this.#session}/${path}`, body);
  }

  open(url) {
    return this.webDriver('url', { url });
  }

  /** Runs the body of a function in the page and returns its result. */
  run(script, ...args) {
    return this.webDriver('execute/sync', { script, args });
  }

  /** Calls a method of the DevTools protocol. */
  devTools(cmd, params = {}) {
    return this.webDriver('goog/cdp/execute', { cmd, params });
  }
}

async function command(url, body) {
  const response = await fetch(url, body && { method: 'POST', body: JSON.stringify(body) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

// The page opens a connection with the options behind `#`, and keeps what it reports.
// It counts its EventSources.
const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Events</title>
<script type="module">
  import { connect } from '/tidings.js';

  window.sources = 0;
  window.EventSource = class extends EventSource {
    constructor(...parameters) {
      super(...parameters);
      window.sources += 1;
    }
  };
  const options = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  const seen = (window.seen = { numbers: [], resets: [], statuses: [], warnings: [], shown: [] });
  addEventListener('pageshow', (event) => seen.shown.push(event.persisted));
  window.connection = connect({
    ...options,
    auth: options.token && (async () => options.token),
    onEvent: (event) => seen.numbers.push(event.n),
    onReset: (reason) => seen.resets.push(reason),
    onStatus: (status, error) => seen.statuses.push(error ? \`\${status}: \${error.reason}\` : status),
    onWarning: (text) => seen.warnings.push(text),
  });
</script>
`;

/** Serves the page and the bundled client at an origin of its own, until the test ends. */
export async function servePage(test) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../dist/index.js', import.meta.url))],
    bundle: true,
    format: 'esm',
    write: false,
  });
  const server = createServer((request, response) => {
    const isScript = request.url === '/tidings.js';
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' });
    response.end(isScript ? outputFiles[0].contents : PAGE);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  const address = (options) => {
    const all = { workspace: 'acme', heartbeatMs: 1000, ...options };
    return `${origin}/#${encodeURIComponent(JSON.stringify(all))}`;
  };
  return { origin, address };
}
