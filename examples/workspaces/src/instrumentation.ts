/** Publishes what an earlier process has left in the outbox, and what the bus has not taken. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME !== 'nodejs') return;
  // #region outbox
  const { publishOutbox } = await import('@/lib/notify');
  setInterval(publishOutbox, 1000);
  // #endregion
}
