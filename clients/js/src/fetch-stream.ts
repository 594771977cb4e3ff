import { createParser } from 'eventsource-parser';

import { hasType, readRefusal } from './denied.js';
import { noteBytes, noteHead, type OpenStream } from './stream.js';

/** The longest event in characters. It bounds the memory that an event without an end takes. */
const EVENT_CHARACTERS_MAX = 64 * 1024 * 1024;

/**
 * Opens a stream over `fetch`, and reads it as section 9.2.6 of the HTML standard defines it. There
 * is one exception: the parser ignores an `id:` in a block without data. A node sends none.
 */
export const openFetchStream: OpenStream = async (
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
  let lastEventId = '';
  let characters = 0;
  const parser = createParser({
    onRetry,
    onEvent({ id, event, data }) {
      characters = 0;
      // An event without `id:` has the id of the one before it. An empty `id:` clears it.
      lastEventId = id ?? lastEventId;
      // A handler of the same chunk may have closed the stream.
      if (!signal.aborted) onMessage(event ?? 'message', data, lastEventId);
    },
  });
  const reader = response.body!.getReader();
  // The decoder drops a byte order mark, and joins characters that two chunks share.
  const decoder = new TextDecoder();
  let endsWithCr = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return {};
    noteBytes(stream);
    let text = decoder.decode(value, { stream: true });
    characters += text.length;
    if (characters > EVENT_CHARACTERS_MAX) return {};
    if (text) {
      // The parser holds a CR at the end of a chunk back, until the next chunk shows whether an LF
      // follows. So it gets LF alone. Otherwise an event would wait for the next one.
      if (endsWithCr) text = text.replace(/^\n/, '');
      endsWithCr = text.endsWith('\r');
      parser.feed(text.replace(/\r\n?/g, '\n'));
    }
  }
};
