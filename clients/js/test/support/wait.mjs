// Waits for conditions, with a deadline.

/** Longer than any wait on a busy machine; a test that reaches it has failed. */
export const DEADLINE_MS = 40_000;

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until `condition` returns something other than nothing; returns that. */
export async function eventually(what, condition, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const found = await condition();
    if (found !== undefined && found !== false && found !== null) return found;
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await sleep(20);
  }
}
