// Waits for conditions, with a deadline.
import { eventually as within } from '../../../../clients/js/test/support/wait.mjs';

/** Longer than any wait on a busy machine; a test that reaches it has failed. */
export const DEADLINE_MS = 60_000;

export const eventually = (what, condition) => within(what, condition, DEADLINE_MS);
