/** Publishes what an earlier process has left in the outbox, and what the bus did not take. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME !== 'nodejs') return;
  const { publishOutbox } = await import('@/lib/live');
  setInterval(publishOutbox, 1000);
}
