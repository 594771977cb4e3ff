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

  /** Calls a command of WebDriver. */
  webDriver(path, body, method = body ? 'POST' : 'GET') {
    return command(`${this.#session}/${path}`, body, method);
  }

  open(url) {
    return this.webDriver('url', { url });
  }

  /** Runs the body of a function in the page and returns its result. */
  run(script, ...args) {
    return this.webDriver('execute/sync', { script, args });
  }

  /** Opens an empty tab and goes to it. Returns its name. */
  async newTab() {
    const { handle } = await command(`${this.#session}/window/new`, { type: 'tab' });
    await this.goTo(handle);
    return handle;
  }

  /** The name of the tab that commands go to. */
  async tab() {
    const response = await fetch(`${this.#session}/window`);
    return (await response.json()).value;
  }

  /** Closes all tabs, and goes to a new one. */
  async closeTabs() {
    const handles = await (await fetch(`${this.#session}/window/handles`)).json();
    const name = await this.newTab();
    for (const handle of handles.value) {
      await this.goTo(handle).catch(() => undefined);
      // A tab that has crashed may be gone.
      if ((await this.tab()) === handle) await fetch(`${this.#session}/window`, { method: 'DELETE' });
    }
    await this.goTo(name);
  }

  goTo(handle) {
    return command(`${this.#session}/window`, { handle });
  }

  /** Calls a method of the DevTools protocol. */
  devTools(cmd, params = {}) {
    return this.webDriver('goog/cdp/execute', { cmd, params });
  }
}

async function command(url, body, method = 'POST') {
  const response = await fetch(url, { method, body: body && JSON.stringify(body) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

// The page opens a connection with the options behind `#`, and keeps what it reports. With
// `frames` it has that many frames instead, each of them such a page. It keeps its EventSources,
// and can lose events of other tabs.
const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Events</title>
<script type="module">
  import { connect, connectShared, createTraces, endShared, xhrTransport } from '/tidings.js';

  const options = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  window.sources = [];
  window.EventSource = class extends EventSource {
    constructor(...parameters) {
      super(...parameters);
      window.sources.push(this);
    }
  };
  /** How many events of other tabs get lost: the next ones, and those so far. */
  window.losses = { next: 0, sofar: 0 };
  window.BroadcastChannel = class extends BroadcastChannel {
    set onmessage(handle) {
      super.onmessage = (event) => {
        if (!event.data.item || losses.next === 0) return handle(event);
        losses.next -= 1;
        losses.sofar += 1;
      };
    }
  };
  window.endShared = endShared;
  /** Blocks this tab until the server responds, after the driver has the result of this call. */
  window.block = () => setTimeout(() => {
    const request = new XMLHttpRequest();
    request.open('GET', '/hold', false);
    request.send();
  }, 300);
  if (options.without) Object.defineProperty(navigator, options.without, { value: undefined });
  const getToken = options.token ? async () => options.token : async () => (await fetch('/token')).text();

  // A worker reports to its page.
  const startWorker = () => {
    const seen = (window.seen = { numbers: [], statuses: [] });
    window.connection = { get status() { return seen.statuses.at(-1); } };
    const worker = new Worker('/worker.js', { type: 'module' });
    worker.onmessage = ({ data: [name, value] }) => seen[name].push(value);
    worker.postMessage(options);
  };

  const traces = createTraces(options.xhr && xhrTransport);
  const start = () => {
    const seen = (window.seen = {
      numbers: [], traces: [], resets: [], statuses: [], warnings: [], shown: [], versions: [],
    });
    addEventListener('pageshow', (event) => seen.shown.push(event.persisted));
    window.connection = (options.user ? connectShared : connect)({
      ...options,
      ...(options.xhr && { transport: xhrTransport }),
      ...(options.traces && { transport: traces.transport }),
      auth: (options.token || options.tokens) && getToken,
      ...(options.types
        ? { events: Object.fromEntries(options.types.map((type) => [type, ({ n }) => seen.numbers.push(n)])) }
        : { onEvent: ({ n }, id) => {
          seen.numbers.push(n);
          seen.traces.push(traces.traceparentOf(options.workspace, id));
        } }),
      onReset: (reason) => seen.resets.push(reason),
      onStatus: (status, error) => seen.statuses.push(error ? \`\${status}: \${error.reason}\` : status),
      onOutdated: (version) => seen.versions.push(version),
      onWarning: (text) => seen.warnings.push(text),
    });
  };

  const { frames, ...rest } = options;
  for (let index = 0; index < (frames ?? 0); index += 1) {
    const frame = document.createElement('iframe');
    frame.src = '/frame#' + encodeURIComponent(JSON.stringify(rest));
    document.body.append(frame);
  }
  if (frames === undefined) (options.worker ? startWorker : start)();
  /** All pages with a connection: this one, or its frames. */
  window.pages = () => (frames === undefined ? [window] : [...document.querySelectorAll('iframe')].map((frame) => frame.contentWindow));
  window.leads = (page) => !!page.sources?.some((source) => source.readyState !== 2);
</script>
<body>
`;

const WORKER = `
  import { connect } from '/tidings.js';

  onmessage = ({ data }) => connect({
    ...data,
    onEvent: ({ n }) => postMessage(['numbers', n]),
    onStatus: (status) => postMessage(['statuses', status]),
  });
`;

/**
 * Serves the page and the bundled client at an origin of its own, until the test ends. `getToken`
 * returns the tokens of pages with `tokens`.
 */
export async function servePage(test, { getToken } = {}) {
  const { outputFiles } = await build({
    stdin: {
      contents: "export * from './dist/index.js'; export * from './dist/tabs.js'; export * from './dist/react-native.js'; export * from './dist/traces.js';",
      resolveDir: fileURLToPath(new URL('../..', import.meta.url)),
    },
    bundle: true,
    format: 'esm',
    write: false,
  });
  const held = [];
  const server = createServer((request, response) => {
    if (request.url === '/hold') return void held.push(response);
    if (request.url === '/token') return void response.end(getToken());
    const script = { '/tidings.js': outputFiles[0].contents, '/worker.js': WORKER }[request.url];
    response.writeHead(200, { 'content-type': script ? 'text/javascript' : 'text/html' });
    response.end(script ?? PAGE);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  /** Ends the block of tabs. */
  const release = () => held.splice(0).forEach((response) => response.end());
  test.after(() => {
    release();
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  const address = (options) => {
    const all = { workspace: 'acme', heartbeatMs: 1000, ...options };
    return `${origin}/#${encodeURIComponent(JSON.stringify(all))}`;
  };
  return { origin, address, release, held };
}
