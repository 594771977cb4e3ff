import { PublishError } from './publish-error.js';

/** The longest wait for one reply. */
const ATTEMPT_MS = 5_000;
/** The first pause between two attempts. It doubles up to the longest. */
const PAUSE_MS = 100;
const PAUSE_MAX_MS = 2_000;

/** When a publication is tried again. */
export interface Attempts {
  /** The time for all attempts of a publication in milliseconds, 10,000 by default. */
  timeoutMs?: number;
  /**
   * Whether to try again after a temporary error, true by default. Each publication without an
   * idempotency key then gets a random one, so that an event whose reply is lost is published once.
   */
  retries?: boolean;
}

/** Runs attempts until one succeeds, the error is final, or the time is over. */
export async function withAttempts<T>(
  { timeoutMs = 10_000, retries = true }: Attempts,
  attempt: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (let pause = PAUSE_MS; ; pause = Math.min(2 * pause, PAUSE_MAX_MS)) {
    const rest = Math.max(end - Date.now(), 1);
    try {
      return await attempt(AbortSignal.timeout(retries ? Math.min(rest, ATTEMPT_MS) : rest));
    } catch (error) {
      if (!(error instanceof PublishError && error.isTemporary && retries)) throw error;
      // Publishers that failed together return at different times.
      const wait = Math.max(error.retryAfterMs ?? 0, pause * (0.5 + Math.random()));
      if (Date.now() + wait >= end) throw error;
      await new Promise((done) => setTimeout(done, wait));
    }
  }
}
