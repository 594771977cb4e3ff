/** One stream for all tabs of an origin. `connectShared` replaces `connect`. */
import { streamUrl } from './connect.js';
import type { AnyEvent, Connection, TypedEvent } from './options.js';
import { endSharedStreams, shareStream, type SharedOptions } from './share-stream.js';

export type { SharedOptions } from './share-stream.js';

/**
 * Opens a connection whose stream all tabs of this origin share that name the same address,
 * workspace, user and types of events. If the page may not use Web Locks or BroadcastChannel, it
 * has a stream of its own.
 *
 * @throws TypeError if `url` is invalid, or `user` is missing.
 */
export function connectShared<E extends TypedEvent = AnyEvent>(
  options: SharedOptions<E>,
): Connection {
  const { user } = options;
  // Types bind neither an app in JavaScript nor a session that is not loaded yet.
  if (!user || typeof user !== 'string') {
    throw new TypeError('connectShared needs `user`, a text: users never share a stream');
  }
  return shareStream(options, streamUrl(options));
}

/**
 * Ends the shared connections of a user in all tabs, for a logout. Their status is `closed`.
 * Without BroadcastChannel it ends those of this tab.
 */
export function endShared(user: string): void {
  endSharedStreams(user);
}
