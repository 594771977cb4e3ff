// The package as it would be published.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(join(root, path), 'utf8');

test('packed package has its files alone and runs', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-package-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const packing = ['pack', '--json', '--ignore-scripts', '--pack-destination', directory];
  const [pack] = Object.values(JSON.parse(execFileSync('npm', packing, { cwd: root })));
  const sources = readdirSync(join(root, 'src'), { recursive: true }).filter((name) => /\.tsx?$/.test(name));
  const modules = sources.map((name) => name.replace(/\.tsx?$/, ''));
  const built = modules.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`]);
  const programs = readdirSync(join(root, 'bin')).map((name) => `bin/${name}`);
  const files = ['LICENSE', 'README.md', 'package.json', ...programs, ...built];
  assert.deepEqual(pack.files.map((file) => file.path).sort(), files.sort());

  const target = join(directory, 'node_modules', 'tidings');
  mkdirSync(target, { recursive: true });
  execFileSync('tar', ['xzf', join(directory, pack.filename), '--strip-components=1', '-C', target]);
  const parser = 'node_modules/eventsource-parser';
  cpSync(join(root, parser), join(directory, parser), { recursive: true });
  const program = "import('tidings').then((tidings) => console.log(Object.keys(tidings).sort().join()))";
  const output = execFileSync(process.execPath, ['--eval', program], { cwd: directory });
  assert.equal(output.toString(), 'DeniedError,connect\n');
});

test('parser is the only dependency', () => {
  assert.deepEqual(Object.keys(JSON.parse(read('package.json')).dependencies), ['eventsource-parser']);
});

test('package has the licence and the version of the repository', () => {
  assert.equal(read('LICENSE'), read('../../LICENSE'));
  const [, version] = /\[workspace\.package\]\nversion = "(.+)"/.exec(read('../../Cargo.toml'));
  assert.equal(JSON.parse(read('package.json')).version, version);
});

test('reference names every reason of a reset', () => {
  const types = read('src/options.ts').split('export type ResetReason =')[1].split(';')[0];
  const named = [...types.matchAll(/'([a-z0-9-]+)'/g)].map(([, reason]) => reason).sort();
  const source = read('../../crates/event/src/control.rs');
  const words = source.split('impl ResetReason')[1].split('\n}\n')[0].matchAll(/=> "([a-z0-9-]+)"/g);
  assert.deepEqual(named, [...words].map(([, reason]) => reason).sort());
});
