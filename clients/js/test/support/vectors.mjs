// The vectors of publications, and clients that record the bytes of each payload.
import { readFileSync } from 'node:fs';

import { createParser } from 'eventsource-parser';

import { bearer, token } from './token.mjs';
import { eventually } from './wait.mjs';

const FILE = new URL('../../../vectors/publish.json', import.meta.url);

/** The vectors, with all short forms replaced. */
export function readVectors() {
  const { filter, ...lists } = JSON.parse(readFileSync(FILE, 'utf8'));
  const expanded = Object.entries(lists).map(([name, list]) => [name, list.map(expandVector)]);
  return { filter, ...Object.fromEntries(expanded) };
}

function expandVector(vector) {
  const text = vector.surrogates
    ? JSON.stringify(vector).replace(/<(d83d|de00|dc00)>/g, '\\u$1')
    : JSON.stringify(vector);
  const { event, events, payloads, ...rest } = JSON.parse(text);
  const count = (list, make) => (Array.isArray(list) ? list : Array.from({ length: list.count }, (_, at) => make(at + 1)));
  const numbered = (n) => ({ type: 'A', n });
  const expanded = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, expand(value)]));
  if ('event' in vector) expanded.event = event;
  if (events) expanded.events = count(events, numbered);
  if (payloads) expanded.payloads = count(payloads, (n) => JSON.stringify(numbered(n)));
  return expanded;
}

function expand(value) {
  if (Array.isArray(value)) return value.map(expand);
  if (typeof value === 'object' && value.repeat) return value.repeat.repeat(value.times);
  if (value?.users) return [...Array.from({ length: value.users }, (_, at) => `user-${at + 1}`), value.and];
  return value;
}

/** Opens a stream of a user, and records each event with its trace. It ends with the test. */
export async function subscribe(test, broker, { user, types }) {
  const events = [];
  let isConnected = false;
  let comment = '';
  const parser = createParser({
    onComment: (text) => (comment = text),
    onEvent({ id, event, data }) {
      const [, trace] = /^traceparent=(.+)/.exec(comment) ?? [];
      comment = '';
      if (event) return;
      // The first message is the `connected` event.
      if (isConnected) events.push({ id, payload: data, trace });
      isConnected = true;
    },
  });
  const stop = new AbortController();
  test.after(() => stop.abort());
  const query = types ? `?types=${types}` : '';
  const response = await fetch(`${broker.url}/workspaces/acme/events${query}`, {
    headers: { ...bearer(token({ user })), Accept: 'text/event-stream' },
    signal: stop.signal,
  });
  void (async () => {
    // `TextDecoder` would drop a byte order mark at the begin of a stream alone.
    const decoder = new TextDecoder('utf-8', { fatal: true });
    for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }));
  })().catch(() => undefined);
  await eventually(`the stream of ${user} is connected`, () => isConnected);
  return events;
}
