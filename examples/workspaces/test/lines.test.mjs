// The lines of the app that exist for live updates, as its README counts them.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { EXAMPLE } from './support/site.mjs';

const SOURCES = join(EXAMPLE, 'src');
const LIVE = 'live updates';
const OUTBOX = 'outbox';

/** Imports of these modules are for live updates. */
const MODULES = /^(tidings(\/.*)?|@\/events|@\/lib\/notify|\.\/bus)$/;

/** The lines of a file, with the region that each is in. */
function linesOf(file) {
  let region;
  return readFileSync(join(SOURCES, file), 'utf8').split('\n').flatMap((line) => {
    const text = line.trim();
    const begin = /^\/\/ #region (.+)$/.exec(text)?.[1];
    if (begin || text === '// #endregion') {
      region = begin;
      return [];
    }
    const isCode = text !== '' && !/^(\/\/|\/?\*)/.test(text);
    return isCode ? [{ file, region, text }] : [];
  });
}

/** The names that a file has from modules for live updates. */
function liveNames(file) {
  const text = readFileSync(join(SOURCES, file), 'utf8');
  return [...text.matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)';$/gms)]
    .filter(([, , module]) => MODULES.test(module))
    .flatMap(([, names]) => names.split(',').map((name) => name.trim().replace(/^type /, '')))
    .filter(Boolean);
}

const files = readdirSync(SOURCES, { recursive: true }).filter((file) => /\.tsx?$/.test(file) && file !== 'events.ts');
const lines = files.flatMap(linesOf);
const count = (region) => lines.filter((line) => line.region === region).length;

test('at most 25 lines are about live updates', (t) => {
  t.diagnostic(`${count(LIVE)} lines about live updates, ${count(OUTBOX)} about the outbox`);
  assert.ok(count(LIVE) > 0 && count(LIVE) <= 25, `${count(LIVE)} lines`);
  const readme = readFileSync(join(EXAMPLE, 'README.md'), 'utf8');
  for (const region of [LIVE, OUTBOX]) {
    assert.ok(readme.includes(`${count(region)} lines`), `README.md counts ${count(region)} lines: ${region}`);
  }
});

test('no other line uses the client package, the events or the bus', () => {
  const others = files.flatMap((file) => {
    const names = liveNames(file);
    // Types have no effect, and an import is counted by its use.
    const isImport = ({ text }) => text.startsWith('import ') || text.startsWith("} from '");
    return linesOf(file).filter((line) => {
      const uses = names.some((name) => new RegExp(`\\b${name}\\b`).test(line.text));
      return uses && !line.region && !isImport(line) && !/^\w+: InitialState</.test(line.text);
    });
  });
  assert.deepEqual(others, []);
});
