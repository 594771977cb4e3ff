// Checks the size of everything that an entry can load, the parser included: bundled, minified and
// compressed by gzip, as a page gets it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

const CONNECT = "export { connect, DeniedError } from 'tidings';";

/** Each limit is for the code of some entries, without the bytes of the code in `beside`. */
const LIMITS = [
  { entry: '.', code: CONNECT, bytesMax: 4096 },
  { entry: './tabs', code: "export * from 'tidings/tabs';", bytesMax: 6144 },
  { entry: './traces', code: `${CONNECT} export * from 'tidings/traces';`, beside: CONNECT, bytesMax: 384 },
  { entry: './react', code: `${CONNECT} export * from 'tidings/react';`, beside: CONNECT, bytesMax: 2048 },
];

async function measure(contents) {
  const { outputFiles } = await build({
    // The package finds its own entries by its name.
    stdin: { contents, resolveDir: root },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    external: ['react'],
    write: false,
  });
  return outputFiles.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);
}

for (const { entry, code, beside, bytesMax } of LIMITS) {
  if (!exports[entry]) continue;
  const bytes = (await measure(code)) - (beside ? await measure(beside) : 0);
  console.log(`size of ${entry}: ${bytes} bytes by gzip, at most ${bytesMax}`);
  if (bytes > bytesMax) process.exitCode = 1;
}
