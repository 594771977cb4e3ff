// Writes the publish script of the repository into a module, so that the package has its text.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const text = readFileSync(new URL('../../../scripts/publish.lua', import.meta.url), 'utf8');
const hash = createHash('sha1').update(text).digest('hex');
const module = `/** The publish script, \`scripts/publish.lua\`. The build writes this file. */
export const PUBLISH_SCRIPT = ${JSON.stringify(text)};

/** Its SHA-1, by which a server that has the script runs it. */
export const PUBLISH_SCRIPT_HASH = '${hash}';
`;
writeFileSync(new URL('../src/server/publish-script.ts', import.meta.url), module);
