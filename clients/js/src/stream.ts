import type { Refusal } from './denied.js';

/** One stream, or the attempt to have it. Aborting it closes the stream. */
export interface Stream extends AbortController {
  /** The time of the request. */
  openedAt?: number;
  /** The time of the head. */
  headAt?: number;
  /** The time of the last byte, which begins with the time of the attempt. */
  byteAt: number;
  /** Whether an event has arrived, which may be a heartbeat. */
  hasEvents?: boolean;
  /** Whether the `connected` event has arrived. */
  isConnected?: boolean;
}

/** The end of a stream that its client did not close. */
export interface StreamEnd extends Refusal {
  /** Whether an EventSource has closed for good, which hides the reason. */
  isHidden?: boolean;
}

/** Receives an event, as the HTML standard dispatches it. */
export type OnMessage = (type: string, data: string, lastEventId: string) => void;

/** What a stream has beside its events. An EventSource reveals neither. */
export interface StreamNotes {
  /** Receives the time in milliseconds after which the broker wants clients to reconnect. */
  onRetry(ms: number): void;
  /** Receives each comment, before the event of its block. */
  onComment?(text: string): void;
}

/** The traces of the events of a page. */
export interface TraceStore {
  get(workspace: string, id: string): string | undefined;
  set(workspace: string, id: string, traceparent: string): void;
}

/**
 * Opens a stream, with cookies to another origin if `withCredentials` is set. Notes in the stream
 * when its head and bytes arrive. Resolves or rejects at its end. An aborted stream has no further
 * event.
 */
export interface Transport {
  (
    stream: Stream,
    url: URL,
    headers: Record<string, string>,
    withCredentials: boolean,
    onMessage: OnMessage,
    notes: StreamNotes,
  ): Promise<StreamEnd>;
  /** The traces that it has read, if it reads any. Tabs that share a stream share them. */
  traces?: TraceStore;
}

/** Notes that the head or bytes of a stream have arrived. */
export function noteBytes(stream: Stream): void {
  stream.byteAt = Date.now();
  stream.headAt ??= stream.byteAt;
}
