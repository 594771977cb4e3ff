/** A client of Tidings for browsers, Node and workers. `connect` opens a connection. */
export { connect } from './connect.js';
export type { Auth, Credentials } from './credentials.js';
export { DeniedError, type DenialDetails } from './denied.js';
export type {
  AnyEvent,
  ConnectOptions,
  Connection,
  EventHandlers,
  EventOf,
  ResetReason,
  Status,
  TypedEvent,
} from './options.js';
export type { Transport } from './stream.js';
