// Makes TypeScript types from a directory of schemas, one schema for each event type.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const UNION = 'AppEvent';

/** Says what is wrong with the schemas, and what to do. */
export class SchemaError extends Error {}

/** One schema of the directory. `type` is the event type, which is the name of its file. */
function readSchemas(directory) {
  let names;
  try {
    names = readdirSync(directory);
  } catch (error) {
    throw new SchemaError(`the directory ${directory} cannot be read: ${error.message}`);
  }
  const files = names
    .filter((name) => name.endsWith('.json'))
    .map((file) => ({ file, type: file.slice(0, -'.json'.length), bytes: readFileSync(join(directory, file)) }))
    .sort((a, b) => Buffer.compare(Buffer.from(a.type), Buffer.from(b.type)));
  if (files.length === 0) {
    throw new SchemaError(`${directory} has no schema: one file for each event type, such as CHANNEL_UPDATED.json`);
  }
  return files.map((entry) => ({ ...entry, schema: parse(entry), name: interfaceName(entry.type) }));
}

function parse({ file, type, bytes }) {
  let schema;
  try {
    schema = JSON.parse(bytes.toString());
  } catch (error) {
    throw new SchemaError(`${file} is not JSON: ${error.message}`);
  }
  const stated = schema?.properties?.type?.const;
  if (stated !== type) {
    const has = stated === undefined ? 'is missing' : `is ${JSON.stringify(stated)}`;
    throw new SchemaError(
      `${file}: properties.type.const ${has}. It has to be the name of the file, ${JSON.stringify(type)}`,
    );
  }
  if (!schema.required?.includes('type')) {
    throw new SchemaError(`${file}: "required" has to contain "type", since each event has its type`);
  }
  return schema;
}

/** `CHANNEL_UPDATED@2` becomes `ChannelUpdated2`, `order.paid` becomes `OrderPaid`. */
export function interfaceName(type) {
  const words = type.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const capitalised = words.map((word) => {
    const rest = word.slice(1);
    return word[0].toUpperCase() + (word === word.toUpperCase() ? rest.toLowerCase() : rest);
  });
  return capitalised.join('').replace(/^(?!\p{L})/u, 'Event');
}

function checkNames(schemas) {
  const seen = new Map([[UNION, 'the union of all events']]);
  for (const { file, name } of schemas) {
    const other = seen.get(name);
    if (other) throw new SchemaError(`${file} and ${other} both become the type ${name}: rename one of them`);
    seen.set(name, file);
  }
}

/** Checks each `$ref` by the rule of the broker, which reads no other file. */
function checkReferences(schemas) {
  const visit = (file, node) => {
    if (typeof node !== 'object' || node === null) return;
    if (typeof node.$ref === 'string' && !node.$ref.startsWith('#')) {
      throw new SchemaError(
        `${file}: the reference ${JSON.stringify(node.$ref)} leads out of the file. ` +
          'A reference begins with "#"; nothing is fetched',
      );
    }
    Object.values(node).forEach((child) => visit(file, child));
  };
  for (const { file, schema } of schemas) visit(file, schema);
}

/** The version of a set of schemas; the broker computes the same from the same files. */
function versionOf(schemas) {
  const hash = createHash('sha256');
  for (const { type, bytes } of schemas) hash.update(type).update('\0').update(bytes).update('\0');
  return hash.digest('hex').slice(0, 16);
}

/** Returns the source text of the types, the number of events, and the version of the schemas. */
export async function eventTypes(directory, compile) {
  const schemas = readSchemas(directory);
  checkNames(schemas);
  checkReferences(schemas);
  const version = versionOf(schemas);
  for (const [index, schema] of schemas.entries()) schema.title = titleOf(schema.name, version, index);
  // All schemas are one, so that no two definitions have the same name.
  const root = { title: UNION, oneOf: schemas.map(({ file }) => ({ $ref: `./${encodeURIComponent(file)}` })) };
  const text = await compile(root, UNION, {
    additionalProperties: false,
    bannerComment: '',
    cwd: `${resolve(directory)}/`,
    unknownAny: true,
    $refOptions: { resolve: { http: false, file: fileResolver(directory, schemas) } },
  });
  let types = text.trim();
  for (const { file, name, title } of schemas) {
    if (!declares(types, title) || (title !== name && declares(types, name))) {
      throw new SchemaError(`${file}: another definition has the name ${name}: rename it`);
    }
    types = types.replaceAll(new RegExp(`\\b${title}\\b`, 'g'), name);
  }
  const source = `// Made by tidings-types from the schemas of the events. Change these instead.

${types}

/** The version of the schemas, for the option \`schemas\` of \`connect\`. */
export const schemas = '${version}';
`;
  return { source, count: schemas.length, version };
}

/**
 * Returns the title of an event's type in its schema. The compiler makes other names of some, such
 * as `User2faEnabled`: these have a name that it keeps, and get their own in its output.
 */
function titleOf(name, version, index) {
  return /^[A-Z][A-Za-z]*\d*$/.test(name) ? name : `T${version.toUpperCase()}E${index}`;
}

/** Returns whether a source text declares this type. */
function declares(text, name) {
  return new RegExp(`^export (interface|type|(const )?enum) ${name}(?![\\p{L}\\p{N}_$])`, 'mu').test(text);
}

/** Reads the schemas from memory. The name of an event's type replaces its title. */
function fileResolver(directory, schemas) {
  const byPath = new Map(
    schemas.map(({ file, schema, title: own }) => {
      const { title, description = title, ...rest } = schema;
      return [join(resolve(directory), file), JSON.stringify({ ...rest, description, title: own })];
    }),
  );
  return {
    order: 1,
    canRead: true,
    read({ url }) {
      const path = fileURLToPath(url.startsWith('file:') ? url : pathToFileURL(decodeURIComponent(url)));
      const text = byPath.get(path);
      if (text === undefined) throw new SchemaError(`${path} is no schema of the directory`);
      return text;
    },
  };
}
