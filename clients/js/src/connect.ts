import { keepStream } from './keep-stream.js';
import type { AnyEvent, ConnectOptions, Connection, TypedEvent } from './options.js';

/**
 * Opens a connection to a workspace. It lasts until `close()` or a final refusal: outages and
 * temporary refusals make it try again from its position.
 *
 * @throws TypeError if `url` is invalid.
 */
export function connect<E extends TypedEvent = AnyEvent>(options: ConnectOptions<E>): Connection {
  const { url, workspace, events, onEvent } = options;
  const path = `workspaces/${encodeURIComponent(workspace)}/events`;
  const address = new URL(url.replace(/\/?$/, `/${path}`), globalThis.location?.href);
  // Each event is a message, whatever `sse.named` says.
  address.searchParams.set('named', '0');
  if (events && !onEvent) address.searchParams.set('types', Object.keys(events).join());
  return keepStream(options, address);
}
