import type { Auth } from './credentials.js';
import type { DeniedError } from './denied.js';

/** An event of the application: a JSON object with a `type`. */
export interface TypedEvent {
  type: string;
}

/** An event of any type, for an application without types of its own. */
export interface AnyEvent extends TypedEvent {
  [member: string]: unknown;
}

/** The events of `E` with one type. */
export type EventOf<E extends TypedEvent, T extends E['type']> = string extends E['type']
  ? E
  : Extract<E, { type: T }>;

/** A function for each type of event. */
export type EventHandlers<E extends TypedEvent> = {
  [T in E['type']]?: (event: EventOf<E, T>, id: string) => void;
};

/**
 * The state of a connection.
 *
 * - `connecting`: no stream has been live yet.
 * - `catching-up`: the stream has resumed, and replayed events arrive.
 * - `live`: events arrive as they are published.
 * - `away`: no node can be reached, or its link to the bus is down. The client tries again.
 * - `denied`: the broker refuses the stream for good. `error` says why.
 * - `closed`: the application has closed the connection.
 */
export type Status = 'connecting' | 'catching-up' | 'live' | 'away' | 'denied' | 'closed';

/** The reason of a reset; docs/protocol.md lists them. A later broker may have further ones. */
export type ResetReason =
  | 'interrupted'
  | 'unknown-position'
  | 'trimmed'
  | 'rolled-back'
  | 'log-unreadable'
  | 'live-events'
  | 'overflow'
  | 'bad-entry'
  | 'too-large'
  | 'not-utf8'
  | 'bad-envelope'
  | 'rate-limited'
  | (string & {});

export interface ConnectOptions<E extends TypedEvent = AnyEvent> {
  /** The address of the broker with its base path. A page may leave out its origin: `/api`. */
  url: string;
  workspace: string;
  /**
   * Receives the events of each type with their ids. Without `onEvent` the broker sends events of
   * these types alone (`types`).
   */
  events?: EventHandlers<E>;
  /**
   * Returns a token or a ticket. The client asks again before a token ends, after a 401, and for
   * each ticket. A rejection is temporary, unless it is a `DeniedError`.
   */
  auth?: Auth;
  /** Further headers of each request. */
  headers?: Readonly<Record<string, string>>;
  /** Whether cookies go to a broker of another origin. */
  withCredentials?: boolean;
  /** The position to resume from, as an earlier connection had it. */
  position?: string | undefined;
  /** The version of the schemas that the application was built for. */
  schemas?: string | undefined;
  /**
   * The heartbeat interval of the nodes (`sse.heartbeat_seconds`) in milliseconds, 15,000 by
   * default. `heartbeatMs` of the `connected` event has priority.
   */
  heartbeatMs?: number;
  /** Receives each event that `events` has no function for, with its id. */
  onEvent?(event: E, id: string): void;
  /** Receives each payload that is no JSON object with a `type`. */
  onPayload?(payload: string, id: string): void;
  /**
   * Events between `from` and `head` may be missing: fetch the state again. `from` is null if the
   * place is not known.
   */
  onReset?(reason: ResetReason, from: string | null, head: string): void;
  /** Receives each change of the status; `error` is set for `denied`. */
  onStatus?(status: Status, error: DeniedError | undefined): void;
  /**
   * The broker has schemas of another version than `schemas`. Called once for each version, and
   * never if the broker states none.
   */
  onOutdated?(version: string): void;
  /** Receives hints for developers; `console.warn` by default. */
  onWarning?(text: string): void;
}

export interface Connection {
  readonly status: Status;
  /** The position behind the last event, to resume from later. */
  readonly position: string | undefined;
  /** The reason of `denied`. */
  readonly error: DeniedError | undefined;
  /** Ends the connection. No function of the application is called after that. */
  close(): void;
}
