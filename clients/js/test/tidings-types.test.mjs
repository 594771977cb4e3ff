// Types of events from their schemas.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = join(root, 'bin', 'tidings-types.mjs');
const vectors = join(root, '..', 'vectors', 'schemas');

/** A directory of an app, with the schemas of its events. */
function app(t, schemas = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-types-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'events'));
  for (const [type, schema] of Object.entries(schemas)) write(directory, type, schema);
  return directory;
}

function write(directory, type, schema) {
  const text = typeof schema === 'string' ? schema : JSON.stringify(schema);
  writeFileSync(join(directory, 'events', `${type}.json`), text);
}

/** A schema whose fields are required. */
const schemaOf = (type, properties = {}) => ({
  type: 'object',
  properties: { type: { const: type }, ...properties },
  required: ['type', ...Object.keys(properties)],
});

function run(cwd, args, file = program) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], { cwd, encoding: 'utf8' });
  return { status, stdout, stderr };
}

function generate(directory) {
  const { status, stderr } = run(directory, ['events', 'src/events.ts']);
  assert.equal(status, 0, stderr);
  return readFileSync(join(directory, 'src', 'events.ts'), 'utf8');
}

/** Asserts that the schemas are refused with a text, and that nothing is written. */
function refuses(t, schemas, text) {
  const directory = app(t, schemas);
  const { status, stderr } = run(directory, ['events', 'src/events.ts']);
  assert.match(stderr, text);
  assert.equal(status, 2);
  assert.throws(() => readFileSync(join(directory, 'src', 'events.ts')));
}

function tsc(directory, source) {
  writeFileSync(join(directory, 'page.ts'), source);
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--skipLibCheck'];
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status, stdout } = spawnSync(process.execPath, [compiler, ...options, 'page.ts'], {
    cwd: directory,
    encoding: 'utf8',
  });
  return { status, stdout };
}

test('version of the schemas is that of the test vector', (t) => {
  const directory = app(t);
  cpSync(vectors, join(directory, 'events'), { recursive: true });
  const version = readFileSync(join(vectors, 'version.txt'), 'utf8').trim();
  assert.match(generate(directory), new RegExp(`^export const schemas = '${version}';$`, 'm'));
});

test('renamed field breaks the compilation of a page', (t) => {
  const directory = app(t, {
    CHANNEL_UPDATED: schemaOf('CHANNEL_UPDATED', { name: { type: 'string' } }),
    'CHANNEL_UPDATED@2': schemaOf('CHANNEL_UPDATED@2', { title: { type: 'string' } }),
    CHANNEL_DELETED: schemaOf('CHANNEL_DELETED'),
  });
  mkdirSync(join(directory, 'node_modules'));
  symlinkSync(root, join(directory, 'node_modules', 'tidings'));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  const page = `
    import { connect } from 'tidings';
    import { schemas, type AppEvent, type ChannelDeleted } from './src/events.js';
    schemas satisfies string;
    connect<AppEvent>({
      url: '/api',
      workspace: 'acme',
      events: {
        CHANNEL_UPDATED: (event) => event.name satisfies string,
        'CHANNEL_UPDATED@2': (event) => event.title satisfies string,
        CHANNEL_DELETED: (event) => event satisfies ChannelDeleted,
      },
    });
  `;
  generate(directory);
  assert.deepEqual(tsc(directory, page), { status: 0, stdout: '' });
  write(directory, 'CHANNEL_UPDATED', schemaOf('CHANNEL_UPDATED', { label: { type: 'string' } }));
  generate(directory);
  const { status, stdout } = tsc(directory, page);
  assert.notEqual(status, 0);
  assert.match(stdout, /page\.ts.+Property 'name' does not exist on type 'ChannelUpdated'/);
});

test('check fails for an outdated output alone', (t) => {
  const directory = app(t, { A: schemaOf('A') });
  const check = () => run(directory, ['events', 'src/events.ts', '--check']);
  assert.equal(check().status, 1);
  generate(directory);
  assert.equal(check().status, 0);
  write(directory, 'A', `${JSON.stringify(schemaOf('A'))}\n`);
  const { status, stderr } = check();
  assert.equal(status, 1);
  assert.match(stderr, /src\/events\.ts is outdated: run npx tidings-types events src\/events\.ts/);
});

test('definition of a schema has one type', (t) => {
  const channel = { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] };
  const reference = { $ref: '#/$defs/channel' };
  const source = generate(
    app(t, { A: { ...schemaOf('A', { channel: reference, parent: reference }), $defs: { channel } } }),
  );
  assert.match(source, /^  channel: Channel;\n  parent: Channel;$/m);
  assert.equal(source.match(/interface Channel\b/g)?.length, 1, source);
});

test('each event type has its type', (t) => {
  const names = {
    USER_2FA_ENABLED: 'User2faEnabled',
    '2FA': 'Event2fa',
    PAID2x: 'PAID2x',
    ÜBER_X: 'ÜberX',
    'straße.neu': 'StraßeNeu',
    ПРИВЕТ: 'Привет',
    'CHANNEL_UPDATED@2': 'ChannelUpdated2',
    'order.v2paid': 'OrderV2paid',
  };
  const types = Object.keys(names);
  const directory = app(t, Object.fromEntries(types.map((type) => [type, schemaOf(type, { n: { type: 'number' } })])));
  const source = generate(directory);
  const page = `
    import type { AppEvent, ${Object.values(names).join(', ')} } from './src/events.js';
    type Of<T> = Extract<AppEvent, { type: T }>;
    ${types.map((type, n) => `export const e${n}: Of<${JSON.stringify(type)}> = { type: ${JSON.stringify(type)}, n: 1 } satisfies ${names[type]};`).join('\n')}
  `;
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  assert.deepEqual(tsc(directory, page), { status: 0, stdout: '' }, source);
  assert.equal(source.match(/^export (interface|type) /gm).length, types.length + 1, source);
});

test('name that a definition has already is refused', (t) => {
  const user = { title: 'User2FaX', type: 'object', properties: { id: { type: 'string' } } };
  const schema = { ...schemaOf('Z', { user: { $ref: '#/$defs/user' } }), $defs: { user } };
  refuses(t, { Z: schema, User2FaX: schemaOf('User2FaX') }, /another definition has the name User2FaX: rename it/);
});

test('single schema and titles give one interface for each type', (t) => {
  const source = generate(app(t, { 'order.paid': { ...schemaOf('order.paid'), title: 'Something else' } }));
  assert.match(source, /^export type AppEvent = OrderPaid;$/m);
  assert.match(source, /^export interface OrderPaid {$/m);
});

test('reference out of the file is refused', (t) => {
  for (const reference of [
    'https://example.com/channel.json',
    'http://127.0.0.1:9/channel.json#/$defs/a',
    '//example.com/channel.json',
    'urn:example:channel',
    'file:///etc/hostname',
    '/etc/hostname',
    '../package.json',
    'B.json',
    'A.json#/$defs/a',
    './C.json#/$defs/channel',
    '',
  ]) {
    refuses(t, { C: schemaOf('C'), A: schemaOf('A', { x: { items: { $ref: reference }, type: 'array' } }) }, /A\.json: .+ leads out of the file/);
  }
});

test('invalid schemas are refused with the file and the reason', (t) => {
  refuses(t, {}, /has no schema: one file for each event type/);
  refuses(t, { A: '{' }, /A\.json is not JSON/);
  refuses(t, { A: 'null' }, /A\.json: properties\.type\.const is missing/);
  refuses(t, { A: schemaOf('B') }, /A\.json: properties\.type\.const is "B"\. It has to be the name of the file, "A"/);
  refuses(t, { A: { ...schemaOf('A'), required: [] } }, /A\.json: "required" has to contain "type"/);
  refuses(t, { 'a-b': schemaOf('a-b'), a_b: schemaOf('a_b') }, /a_b\.json and a-b\.json both become the type AB/);
  refuses(t, { APP_EVENT: schemaOf('APP_EVENT') }, /APP_EVENT\.json and the union of all events/);
  refuses(t, { A: schemaOf('A', { x: { $ref: '#/$defs/none' } }) }, /the schemas cannot become types: .*none/);
});

test('wrong arguments and a missing package are named', (t) => {
  const directory = app(t, { A: schemaOf('A') });
  for (const args of [[], ['events'], ['events', 'a.ts', 'b.ts'], ['events', 'a.ts', '--chek']]) {
    const { status, stderr } = run(directory, args);
    assert.equal(status, 2);
    assert.match(stderr, /Usage: tidings-types DIRECTORY OUTPUT/);
  }
  assert.match(run(directory, ['nowhere', 'a.ts']).stderr, /the directory nowhere cannot be read/);
  assert.match(run(directory, ['--help']).stdout, /--check/);

  cpSync(join(root, 'bin'), join(directory, 'bin'), { recursive: true });
  const copy = join(directory, 'bin', 'tidings-types.mjs');
  const { status, stderr } = run(directory, ['events', 'a.ts'], copy);
  assert.equal(status, 2);
  assert.match(stderr, /npm install --save-dev json-schema-to-typescript/);
});
