// Checks what the hooks add to a page that has `connect` already: bundled, minified and compressed
// by gzip. React itself is not counted.
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const BYTES_MAX = 2048;

async function size(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('..', import.meta.url)) },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    external: ['react'],
    write: false,
  });
  return outputFiles.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);
}

const client = "export { connect, DeniedError } from './dist/index.js';";
const bytes = (await size(`${client} export * from './dist/react/index.js';`)) - (await size(client));
console.log(`size: React takes ${bytes} bytes more by gzip, at most ${BYTES_MAX}`);
process.exitCode = bytes > BYTES_MAX ? 1 : 0;
