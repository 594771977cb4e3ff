import { readRefusal } from './denied.js';
import { createReader } from './event-reader.js';
import { noteBytes, type Transport } from './stream.js';

/** Opens a stream over `fetch`. */
export const openFetchStream: Transport = async (
  stream,
  url,
  headers,
  withCredentials,
  onMessage,
  notes,
) => {
  const { signal } = stream;
  const credentials = withCredentials ? 'include' : 'same-origin';
  const response = await fetch(url, { headers, signal, credentials });
  const contentType = response.headers.get('content-type');
  if (response.status !== 200 || !contentType?.startsWith('text/event-stream')) {
    return readRefusal(response);
  }
  const read = createReader(signal, onMessage, notes);
  const reader = response.body!.getReader();
  // The decoder drops a byte order mark, and joins characters that two chunks share.
  const decoder = new TextDecoder();
  let part;
  do {
    noteBytes(stream);
    part = await reader.read();
  } while (!part.done && read(decoder.decode(part.value, { stream: true })));
  return {};
};
