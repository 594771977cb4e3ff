import { noteBytes, type Transport } from './stream.js';

/** The events of the broker that a client reads; `message` carries those of the application. */
const TYPES = ['message', 'tidings.heartbeat', 'tidings.reset', 'tidings.reconnect'];

/**
 * Opens a stream over the EventSource of the platform. The EventSource never reconnects by itself,
 * so that pauses, positions and the status follow one rule for all platforms. It does not reveal
 * `retry:`.
 */
export const openEventSourceStream: Transport = (
  stream,
  url,
  _headers,
  withCredentials,
  onMessage,
) =>
  new Promise((resolve) => {
    const source = new EventSource(url, { withCredentials });
    // A closed EventSource dispatches nothing.
    stream.signal.addEventListener('abort', () => source.close());
    source.onopen = () => noteBytes(stream);
    // 2 is CLOSED.
    source.onerror = () => resolve({ isHidden: source.readyState === 2 });
    for (const type of TYPES) {
      source.addEventListener(type, ({ data, lastEventId }: MessageEvent<string>) => {
        noteBytes(stream);
        onMessage(type, data, lastEventId);
      });
    }
  });
