import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

import Database from 'better-sqlite3';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import { migrate } from 'drizzle-orm/better-sqlite3/migrator';

import * as schema from './schema';
import { seed } from './seed';

function open() {
  const path = process.env.DATABASE_PATH ?? 'data/workspaces.db';
  mkdirSync(dirname(path), { recursive: true });
  const connection = new Database(path);
  // A committed change survives a crash of the machine. Another process waits for the lock.
  connection.pragma('journal_mode = WAL');
  connection.pragma('synchronous = FULL');
  connection.pragma('busy_timeout = 5000');
  connection.pragma('foreign_keys = ON');
  const opened = drizzle(connection, { schema, casing: 'snake_case' });
  migrate(opened, { migrationsFolder: join(process.cwd(), 'drizzle') });
  seed(opened);
  return opened;
}

export type Database = ReturnType<typeof drizzle<typeof schema>>;
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];

// `next build` loads this module and needs no database. Development loads it again for each change.
const global = globalThis as { workspacesDatabase?: Database };

/** The database. The first call opens it. */
export const database = (): Database => (global.workspacesDatabase ??= open());
