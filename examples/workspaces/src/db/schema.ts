import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core';

import type { AppEvent } from '@/events';

const id = () => text().primaryKey().$defaultFn(() => crypto.randomUUID());

export const users = sqliteTable('users', {
  id: id(),
  name: text().notNull().unique(),
  passwordHash: text().notNull(),
});

/** A session ends when its row is deleted. */
export const sessions = sqliteTable('sessions', {
  id: id(),
  userId: text().notNull().references(() => users.id, { onDelete: 'cascade' }),
});

export const workspaces = sqliteTable('workspaces', {
  id: id(),
  name: text().notNull(),
  /** The channel that always exists, and to which readers of a deleted one go. */
  generalId: text().notNull(),
});

export const members = sqliteTable(
  'members',
  {
    workspaceId: text().notNull().references(() => workspaces.id, { onDelete: 'cascade' }),
    userId: text().notNull().references(() => users.id, { onDelete: 'cascade' }),
  },
  (table) => [primaryKey({ columns: [table.workspaceId, table.userId] })],
);

export const channels = sqliteTable('channels', {
  id: id(),
  workspaceId: text().notNull().references(() => workspaces.id, { onDelete: 'cascade' }),
  name: text().notNull(),
});

// #region outbox
/** The events that are committed and not published yet, in order. `key` names each publication. */
export const outbox = sqliteTable('outbox', {
  id: integer().primaryKey({ autoIncrement: true }),
  key: text().notNull().$defaultFn(() => crypto.randomUUID()),
  workspaceId: text().notNull(),
  event: text({ mode: 'json' }).$type<AppEvent>().notNull(),
});
// #endregion
