// The backend of the test app: its states, its page, and the same page rendered on the server.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { fetchPosition } from '../../dist/live.js';

const entry = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The folder of another version of React, in place of the installed one. */
const reactFolder = process.env.REACT_FOLDER;

async function bundle(options) {
  const { outputFiles } = await build({
    bundle: true,
    write: false,
    jsx: 'automatic',
    alias: reactFolder ? { 'react': join(reactFolder, 'react'), 'react-dom': join(reactFolder, 'react-dom') } : {},
    define: { 'process.env.NODE_ENV': '"development"' },
    ...options,
  });
  return outputFiles[0].text;
}

/** Returns a function that renders the app to HTML. */
async function renderer(test) {
  const script = await bundle({
    stdin: {
      contents: `
        import { createElement } from 'react';
        import { renderToString } from 'react-dom/server';
        import { App } from './react-app.jsx';
        module.exports = (props) => renderToString(createElement(App, props));`,
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
    },
    platform: 'node',
    format: 'cjs',
  });
  const directory = mkdtempSync(join(tmpdir(), 'tidings-react-'));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'app.cjs');
  writeFileSync(file, script);
  return createRequire(file)(file);
}

export class AppServer {
  /** The numbers of each workspace. */
  numbers = {};
  /** The requests for a state, and for the script of the page, so far. */
  loads = 0;
  scripts = 0;
  /** The promises for which the next state, and the script of the page, wait. */
  held = { state: undefined, script: undefined };
  /** The broker of the page that the server renders. */
  broker = '';

  /** Starts the backend of a page at an origin of its own. It ends with the test. */
  static async start(test, pageScript = 'react-page.jsx') {
    const app = new AppServer();
    const [script, render] = await Promise.all([
      bundle({ entryPoints: [entry(pageScript)], format: 'esm' }),
      renderer(test),
    ]);
    const server = createServer(async (request, response) => {
      const { pathname, searchParams } = new URL(request.url, app.origin);
      const workspace = searchParams.get('workspace');
      const send = (type, body) => response.writeHead(200, { 'content-type': type }).end(body);
      if (pathname === '/page.js') {
        app.scripts += 1;
        await app.held.script;
        send('text/javascript', script);
      } else if (pathname === '/state') {
        app.loads += 1;
        const state = JSON.stringify(app.state(workspace));
        await app.held.state;
        send('application/json', state);
      } else if (pathname === '/rendered') {
        // The position is taken before the state is read.
        const position = await fetchPosition({ url: app.broker, workspace });
        const props = { url: app.broker, workspace, initial: { state: app.state(workspace), position } };
        send('text/html', page(render(props), props));
      } else {
        send('text/html', page(''));
      }
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    test.after(() => {
      server.closeAllConnections();
      server.close();
    });
    app.origin = `http://127.0.0.1:${server.address().port}`;
    return app;
  }

  state(workspace) {
    return { workspace, numbers: this.numbers[workspace] ?? [] };
  }

  /** Commits a number, and publishes its event after that. */
  async change(broker, workspace, n) {
    this.numbers[workspace] = [...(this.numbers[workspace] ?? []), n];
    await broker.publish(workspace, { type: 'NUMBER', n });
  }
}

const page = (html, props) => `<!doctype html>
<meta charset="utf-8">
<title>Numbers</title>
<div id="root">${html}</div>
${props ? `<script type="application/json" id="props">${JSON.stringify(props)}</script>` : ''}
<script type="module" src="/page.js"></script>
`;
