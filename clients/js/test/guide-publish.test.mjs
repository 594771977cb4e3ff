// The blocks of docs/guides/publish.md that use the package.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Redis } from 'ioredis';

import { Broker } from './support/broker.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const guide = readFileSync(new URL('../../../docs/guides/publish.md', import.meta.url), 'utf8');

/** Runs a block by the name in its first line, as the file of an app that has the package. */
async function run(t, broker, name) {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-guide-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'node_modules'));
  symlinkSync(root, join(directory, 'node_modules', 'tidings'));
  symlinkSync(join(root, 'node_modules', 'ioredis'), join(directory, 'node_modules', 'ioredis'));
  const [, text] = guide.split(`\`\`\`js\n// ${name}\n`);
  const program = text
    .split('\n```')[0]
    .replace('6380', broker.embedded)
    .replace('127.0.0.1:8080', `127.0.0.1:${broker.port}`);
  writeFileSync(join(directory, name), program);
  const { stdout } = await promisify(execFile)(process.execPath, [name], { cwd: directory });
  return stdout.trim();
}

test('blocks of the package publish durably', async (t) => {
  const broker = await Broker.start(t);
  const ids = [await run(t, broker, 'publish-events.mjs'), await run(t, broker, 'publish-over-http.mjs')];
  const client = new Redis(broker.embedded);
  t.after(() => client.disconnect());
  const entries = await client.xrange('workspace:demo', '-', '+');
  assert.deepEqual(
    entries.map(([id, fields]) => [id, fields[1]]),
    [
      [ids[0], '{"type":"GREETING","text":"node package"}'],
      [ids[1], '{"type":"GREETING","text":"node package over HTTP"}'],
    ],
  );
});
