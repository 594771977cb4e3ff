import type { DenialDetails } from './denied.js';
import type { ResetReason, Status } from './options.js';

/** An event or a reset that the leader has received. */
export type Item =
  | { payload: string; id: string; traceparent: string | undefined }
  | { reset: [reason: ResetReason, from: string | null, head: string] };

/** The state of the leader after `item`. Without one it is a beat, or a change of the status. */
export interface LeaderMessage {
  /** Each new leader has a higher term than the one before. */
  term: number;
  /** The number of items in this term, this one included. */
  count: number;
  position: string | undefined;
  status: Status;
  denied: (DenialDetails & { message: string }) | undefined;
  /** The version of the broker's schemas. */
  schemas: string | undefined;
  item: Item | undefined;
}

/**
 * A follower asks for a beat, says that the machine has slept, or claims the place of a leader that
 * does not respond.
 */
export type FollowerMessage = 'ping' | 'wake' | { claim: number };
