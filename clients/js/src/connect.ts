import { deliver } from './application.js';
import { keepStream } from './keep-stream.js';
import type { AnyEvent, ConnectOptions, Connection, TypedEvent } from './options.js';
import { workspaceUrl } from './workspace-url.js';

/**
 * Opens a connection to a workspace. It lasts until `close()` or a final refusal: outages and
 * temporary refusals make it try again from its position.
 *
 * @throws TypeError if `workspace` is empty or `url` is invalid.
 */
export function connect<E extends TypedEvent = AnyEvent>(options: ConnectOptions<E>): Connection {
  return keepStream(options, streamUrl(options), (payload, id) => deliver(options, payload, id));
}

/** Returns the address of the stream that has the events of the application. */
export function streamUrl<E extends TypedEvent>(options: ConnectOptions<E>): URL {
  const { events, onEvent } = options;
  const address = workspaceUrl(options, 'events');
  // Each event is a message, whatever `sse.named` says.
  address.searchParams.set('named', '0');
  const types = !onEvent && Object.keys(events ?? {}).sort().join();
  if (types) address.searchParams.set('types', types);
  return address;
}
