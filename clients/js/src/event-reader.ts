import { createParser } from 'eventsource-parser';

import type { OnMessage, StreamNotes } from './stream.js';

/** The longest event in characters. It bounds the memory that an event without an end takes. */
const EVENT_CHARACTERS_MAX = 2 ** 26;

/**
 * Reads the text of a stream as section 9.2.6 of the HTML standard defines it. There is one
 * exception: the parser ignores an `id:` in a block without data, and reports nothing of it. A node
 * sends none.
 *
 * Returns a function that takes the next text, which is empty only within a character. It returns
 * false after too long an event.
 */
export function createReader(
  signal: AbortSignal,
  onMessage: OnMessage,
  notes: StreamNotes,
): (text: string) => boolean {
  let lastEventId = '';
  let characters = 0;
  let endsWithCr = false;
  const parser = createParser({
    ...notes,
    onEvent({ id, event, data }) {
      characters = 0;
      // An event without `id:` has the id of the one before it. An empty `id:` clears it.
      lastEventId = id ?? lastEventId;
      // A handler of the same text may have closed the stream.
      if (!signal.aborted) onMessage(event ?? 'message', data, lastEventId);
    },
  });
  return (text) => {
    characters += text.length;
    // The parser holds a CR at the end of a text back, until the next one shows whether an LF
    // follows. So it gets LF alone. Otherwise an event would wait for the next one.
    if (endsWithCr) text = text.replace(/^\n/, '');
    endsWithCr = text.endsWith('\r');
    parser.feed(text.replace(/\r\n?/g, '\n'));
    return characters <= EVENT_CHARACTERS_MAX;
  };
}
