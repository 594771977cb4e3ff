/** Traces of events. `createTraces` returns a transport that reads them from the stream. */
import { openFetchStream } from './fetch-stream.js';
import type { TraceStore, Transport } from './stream.js';

export type { Transport } from './stream.js';

/** The traces that a page keeps. The oldest ones go first. */
const TRACES_MAX = 1_000;

const COMMENT = /^traceparent=([\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2})$/;

export interface Traces {
  /** The option `transport` of each connection whose traces are read. */
  readonly transport: Transport;
  /**
   * Returns the `traceparent` of an event that this page has received: the trace, and the span of
   * its publisher. Undefined if the stream has none for the event. The last 1,000 traces are kept.
   */
  traceparentOf(workspace: string, id: string): string | undefined;
}

/**
 * Reads the traces of events from streams, for all connections of a page. The nodes send them if
 * `tracing.in_streams` is set. `open` opens the streams, instead of `fetch`.
 */
export function createTraces(open: Transport = openFetchStream): Traces {
  const kept = new Map<string, string>();
  const keyOf = (workspace: string, id: string) => `${workspace} ${id}`;
  const traces: TraceStore = {
    get: (workspace, id) => kept.get(keyOf(workspace, id)),
    set(workspace, id, traceparent) {
      kept.set(keyOf(workspace, id), traceparent);
      if (kept.size > TRACES_MAX) kept.delete(kept.keys().next().value!);
    },
  };

  const transport: Transport = (stream, url, headers, withCredentials, onMessage, notes) => {
    // The path ends with the workspace and `events`.
    const workspace = decodeURIComponent(url.pathname.split('/').at(-2)!);
    /** That of the block which is being read. */
    let traceparent: string | undefined;
    const onTraced: typeof onMessage = (type, data, id) => {
      if (traceparent && type === 'message') traces.set(workspace, id, traceparent);
      traceparent = undefined;
      onMessage(type, data, id);
    };
    return open(stream, url, headers, withCredentials, onTraced, {
      ...notes,
      onComment(text) {
        traceparent = COMMENT.exec(text)?.[1] ?? traceparent;
      },
    });
  };
  transport.traces = traces;
  return { transport, traceparentOf: traces.get };
}
