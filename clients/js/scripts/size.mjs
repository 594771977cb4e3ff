// Checks the size of everything that `connect` can load, the parser included: bundled, minified and
// compressed by gzip, as a page gets it.
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const BYTES_MAX = 4096;

const { outputFiles } = await build({
  stdin: {
    contents: "export { connect, DeniedError } from './dist/index.js';",
    resolveDir: fileURLToPath(new URL('..', import.meta.url)),
  },
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  write: false,
});
const bytes = outputFiles.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);
console.log(`size: ${bytes} bytes by gzip, at most ${BYTES_MAX}`);
process.exitCode = bytes > BYTES_MAX ? 1 : 0;
