import { eq } from 'drizzle-orm';
import { createPublisher } from 'tidings/server';

import { database, type Transaction } from '@/db';
import { outbox } from '@/db/schema';
import type { AppEvent } from '@/events';

import { bus } from './bus';

// #region outbox
/** Adds an event to the transaction whose change it reports. It is published after the commit. */
export function notifyWorkspaceClients(tx: Transaction, workspaceId: string, event: AppEvent): void {
  tx.insert(outbox).values({ workspaceId, event }).run();
  // A transaction is synchronous, so it has ended by then.
  setImmediate(publishOutbox);
}

let publishing: Promise<void> | undefined;

/** Publishes the outbox. A failure leaves the rest for the next call. */
export function publishOutbox(): void {
  publishing ??= publishEvents()
    .catch((error) => console.warn(`the outbox waits: ${error.message}`))
    .finally(() => (publishing = undefined));
}

const publisher = createPublisher<AppEvent>({ redis: bus });

// If the process ends between the two steps, the key makes the second publication harmless.
async function publishEvents(): Promise<void> {
  const db = database();
  for (let next; (next = db.select().from(outbox).orderBy(outbox.id).get()); ) {
    await publisher.publish(next.workspaceId, next.event, { idempotencyKey: next.key });
    db.delete(outbox).where(eq(outbox.id, next.id)).run();
  }
}
// #endregion
