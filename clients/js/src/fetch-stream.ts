import { hasType, readRefusal } from './denied.js';
import { createReader } from './event-reader.js';
import { noteBytes, noteHead, type Transport } from './stream.js';

/** Opens a stream over `fetch`. */
export const openFetchStream: Transport = async (
  stream,
  url,
  headers,
  withCredentials,
  onMessage,
  onRetry,
) => {
  const { signal } = stream;
  const credentials = withCredentials ? 'include' : 'same-origin';
  const response = await fetch(url, { headers, signal, credentials });
  if (response.status !== 200 || !hasType(response, 'text/event-stream')) {
    return readRefusal(response);
  }
  noteHead(stream);
  const read = createReader(signal, onMessage, onRetry);
  const reader = response.body!.getReader();
  // The decoder drops a byte order mark, and joins characters that two chunks share.
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return {};
    noteBytes(stream);
    if (!read(decoder.decode(value, { stream: true }))) return {};
  }
};
