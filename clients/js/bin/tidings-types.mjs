#!/usr/bin/env node
// Writes TypeScript types of the events of an app from their schemas.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';

import { eventTypes, SchemaError } from './event-types.mjs';

const USAGE = `Usage: tidings-types DIRECTORY OUTPUT [--check]

Writes TypeScript types from the schemas of the events of an app.

  DIRECTORY  has one JSON Schema for each event type, such as events/CHANNEL_UPDATED.json
  OUTPUT     the file to write, such as src/events.ts
  --check    writes nothing; the exit code is 1 if OUTPUT is outdated

The exit code is 2 if the arguments or the schemas are invalid.
`;

/** Ends the program with a text on standard error. */
function fail(code, text) {
  process.stderr.write(`tidings-types: ${text}\n`);
  process.exit(code);
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { check: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    });
    if (values.help) {
      process.stdout.write(USAGE);
      process.exit(0);
    }
    if (positionals.length !== 2) throw new Error('two arguments are needed');
    return { directory: positionals[0], output: positionals[1], isCheck: values.check };
  } catch (error) {
    return fail(2, `${error.message}\n\n${USAGE}`);
  }
}

/** Returns `compile` of the optional peer dependency. */
async function loadCompiler() {
  try {
    return (await import('json-schema-to-typescript')).compile;
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return fail(2, 'it needs a package: npm install --save-dev json-schema-to-typescript');
  }
}

function readOutput(path) {
  try {
    // A checkout on Windows may have other line ends.
    return readFileSync(path, 'utf8').replace(/\r\n/g, '\n');
  } catch {
    return undefined;
  }
}

const { directory, output, isCheck } = readArguments();
const compile = await loadCompiler();
try {
  const { source, count, version } = await eventTypes(directory, compile);
  const isCurrent = readOutput(output) === source;
  if (isCheck && !isCurrent) {
    fail(1, `${output} is outdated: run npx tidings-types ${directory} ${output}`);
  }
  if (!isCurrent) {
    mkdirSync(dirname(output), { recursive: true });
    writeFileSync(output, source);
  }
  process.stdout.write(`${output}: ${count} events, schemas ${version}${isCurrent ? ', unchanged' : ''}\n`);
} catch (error) {
  fail(2, error instanceof SchemaError ? error.message : `the schemas cannot become types: ${error.message}`);
}
