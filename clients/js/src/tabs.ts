/** One stream for all tabs of an origin. `connectShared` replaces `connect`. */
import { connect, streamUrl } from './connect.js';
import type { AnyEvent, Connection, TypedEvent } from './options.js';
import { endSharedStreams, shareStream, type SharedOptions } from './share-stream.js';

export type { SharedOptions } from './share-stream.js';

/**
 * Opens a connection whose stream all tabs of this origin share that name the same address,
 * workspace, user and types of events. Without Web Locks or BroadcastChannel it is a connection of
 * `connect`.
 *
 * @throws TypeError if `url` is invalid.
 */
export function connectShared<E extends TypedEvent = AnyEvent>(
  options: SharedOptions<E>,
): Connection {
  const isPossible = globalThis.BroadcastChannel && globalThis.navigator?.locks;
  return isPossible ? shareStream(options, streamUrl(options)) : connect(options);
}

/** Ends the shared connections of a user in all tabs, for a logout. Their status is `closed`. */
export function endShared(user: string): void {
  if (globalThis.BroadcastChannel) endSharedStreams(user);
}
