import { eq } from 'drizzle-orm';
import Redis from 'ioredis';

import { database, type Transaction } from '@/db';
import { outbox } from '@/db/schema';
import type { AppEvent } from '@/events';

const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6380', {
  lazyConnect: true,
  commandTimeout: 10_000,
});
redis.on('error', (error) => console.warn(`the bus is away: ${error.message}`));

const publish = (workspaceId: string, event: AppEvent, { idempotencyKey }: { idempotencyKey: string }) =>
  redis.call('FCALL', 'tidings_publish', '1', `workspace:${workspaceId}`, JSON.stringify(event), '', '', idempotencyKey);

/** Adds an event to the transaction that it reports. It is published after the commit. */
export function notifyWorkspaceClients(tx: Transaction, workspaceId: string, event: AppEvent): void {
  tx.insert(outbox).values({ workspaceId, event }).run();
  // A transaction is synchronous, so it has ended by then.
  setImmediate(publishOutbox);
}

let publishing: Promise<void> | undefined;

/** Publishes the outbox. A failure leaves the rest for the next call. */
export function publishOutbox(): void {
  publishing ??= publishRows()
    .catch((error) => console.warn(`the outbox waits: ${error.message}`))
    .finally(() => (publishing = undefined));
}

// If the process ends between the two steps, the key makes the second publication harmless.
async function publishRows(): Promise<void> {
  const db = database();
  for (let row; (row = db.select().from(outbox).orderBy(outbox.id).get()); ) {
    await publish(row.workspaceId, row.event, { idempotencyKey: row.key });
    db.delete(outbox).where(eq(outbox.id, row.id)).run();
  }
}

/** Ends the streams of a user. Those with a valid session open again. */
export async function disconnect(streams: { user: string }): Promise<void> {
  const command = JSON.stringify({ disconnect: streams });
  await redis.publish('tidings:control', command).catch(() => undefined);
}
