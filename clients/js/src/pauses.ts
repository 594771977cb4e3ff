/** The time between two attempts until the broker sets another one (`sse.retry_ms`). */
export const DEFAULT_RETRY_MS = 2_000;
/** The interval of the heartbeats that a node sends by default (`sse.heartbeat_seconds`). */
export const DEFAULT_HEARTBEAT_MS = 15_000;

/** The longest pause that grows by failures. */
const PAUSE_MAX_MS = 30_000;

/**
 * Returns the pause before an attempt in milliseconds. It doubles with each failure, and is at
 * least the time that a response has asked for. A random part of up to a quarter makes it longer.
 */
export function retryPause(retryMs: number, failures: number, retryAfterMs = 0): number {
  const pause = Math.max(Math.min(retryMs * 2 ** failures, PAUSE_MAX_MS), retryAfterMs);
  return pause * (1 + Math.random() / 4);
}
