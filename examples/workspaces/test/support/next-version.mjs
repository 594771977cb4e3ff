// The next version of the app, with an incompatible change of an event.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { EXAMPLE } from './site.mjs';

const PATCH = fileURLToPath(new URL('../next-version.patch', import.meta.url));
const PARTS = ['src', 'events', 'drizzle', 'next.config.ts', 'tsconfig.json', 'package.json'];

/** A hash of all that the build depends on. */
function hashOfSources() {
  const hash = createHash('sha256').update(readFileSync(PATCH));
  hash.update(readFileSync(join(EXAMPLE, 'node_modules/.client')));
  hash.update(readFileSync(join(EXAMPLE, 'package-lock.json')));
  for (const part of PARTS) {
    const names = part.includes('.') ? [part] : readdirSync(join(EXAMPLE, part), { recursive: true }).sort();
    for (const name of names) {
      const path = join(EXAMPLE, part.includes('.') ? '' : part, name);
      if (/\.\w+$/.test(name)) hash.update(name).update(readFileSync(path));
    }
  }
  return hash.digest('hex');
}

/** Builds the next version in a folder of its own, unless it is there. Returns the folder. */
export function buildNextVersion() {
  const folder = join(EXAMPLE, 'data/next-version');
  const marker = join(folder, 'built');
  const hash = hashOfSources();
  if (existsSync(marker) && readFileSync(marker, 'utf8') === hash) return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of PARTS) cpSync(join(EXAMPLE, part), join(folder, part), { recursive: true });
  rmSync(join(folder, 'src/events.ts'), { force: true });
  const run = (program, parameters) => {
    execFileSync(program, parameters, {
      cwd: folder,
      env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' },
      // Their output would be a part of that of the tests.
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  };
  // Links of files: the build follows no link out of its folder.
  run('cp', ['--archive', '--link', join(EXAMPLE, 'node_modules'), join(folder, 'node_modules')]);
  run('patch', ['--strip=1', '--quiet', `--input=${PATCH}`]);
  run('npm', ['run', '--silent', 'build']);
  writeFileSync(marker, hash);
  return folder;
}
