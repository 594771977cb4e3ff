import { hashPassword } from '@/lib/passwords';

import type { Database } from '.';
import { channels, members, users, workspaces } from './schema';

/** Fills an empty database: two members of a workspace, and a user of another one. */
export function seed(database: Database): void {
  database.transaction(
    (tx) => {
      if (tx.select().from(users).get()) return;
      const passwordHash = hashPassword('tidings');
      tx.insert(users).values(['ada', 'ben', 'eve'].map((id) => ({ id, name: id, passwordHash }))).run();
      tx.insert(workspaces)
        .values([
          { id: 'acme', name: 'Acme', generalId: 'general' },
          { id: 'hooli', name: 'Hooli', generalId: 'lobby' },
        ])
        .run();
      tx.insert(members)
        .values([
          { workspaceId: 'acme', userId: 'ada' },
          { workspaceId: 'acme', userId: 'ben' },
          { workspaceId: 'hooli', userId: 'eve' },
        ])
        .run();
      tx.insert(channels)
        .values([
          { id: 'general', workspaceId: 'acme', name: 'general' },
          { id: 'design', workspaceId: 'acme', name: 'design' },
          { id: 'releases', workspaceId: 'acme', name: 'releases' },
          { id: 'lobby', workspaceId: 'hooli', name: 'general' },
        ])
        .run();
    },
    { behavior: 'immediate' },
  );
}
