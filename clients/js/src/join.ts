import { call } from './application.js';
import { DeniedError, type Refusal } from './denied.js';
import { firstSnapshot, type InitialState, type LiveSnapshot } from './live-snapshot.js';
import type { AnyEvent, ConnectOptions, Connection, Status, TypedEvent } from './options.js';
import { DEFAULT_RETRY_MS, retryPause } from './pauses.js';
import type { PositionOptions } from './position.js';
import { receiverOf } from './receiver.js';

/** The most events that wait for a load. Beyond it a new load begins, which has them all. */
const WAITING_MAX = 10_000;

/** The parameter of a load. */
export interface LoadContext {
  /** The place from which events follow. It is missing while no node can be reached. */
  position: string | undefined;
  /** Aborted when the result has no use any more. */
  signal: AbortSignal;
}

/** How a state is loaded, and how an event changes it. */
export interface StateOptions<State, E extends TypedEvent = AnyEvent> {
  /**
   * Loads the whole state. A rejection is temporary, unless it is a `DeniedError`. It must read no
   * cache or replica that is behind an event.
   */
  load(context: LoadContext): State | Promise<State>;
  /**
   * Returns the state after an event, without a change of the given one. The state may have the
   * event already.
   */
  apply(state: State, event: E, id: string): State;
  /** Saves the first load. */
  initial?: InitialState<State> | undefined;
}

export interface JoinOptions<State, E extends TypedEvent = AnyEvent>
  extends
    StateOptions<State, E>,
    Omit<
      ConnectOptions<E>,
      'events' | 'onEvent' | 'onPayload' | 'onReset' | 'onStatus' | 'position'
    > {
  /** The broker sends events of these types alone. */
  types?: readonly E['type'][] | undefined;
  /** Opens the connection. A method would accept a function that requires further options. */
  connect: (options: ConnectOptions<E>) => Connection;
  /** Returns a place from which `connect` can stream. */
  fetchPosition(options: PositionOptions): Promise<string>;
  /** Receives each change of the state or the status. */
  onChange?(snapshot: LiveSnapshot<State>): void;
}

/** A state that follows its events. */
export interface Join<State> {
  current(): LiveSnapshot<State>;
  /** Returns what another join can begin with, if there is a state. */
  saved(): InitialState<State> | undefined;
  reload(): void;
  close(): void;
}

/** Joins a state and the events after it: see `live`, which is this function for applications. */
export function joinState<State, E extends TypedEvent>(options: JoinOptions<State, E>): Join<State> {
  const {
    load,
    apply,
    initial,
    types,
    onChange,
    connect: open,
    fetchPosition: ask,
    ...rest
  } = options;

  let snapshot = firstSnapshot(initial);
  /** The state, and the place from which events follow. It is empty while events may be missing. */
  let saved = initial;
  let connection: Connection | undefined;
  /** The load under way, or the pause before it. */
  let loading: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** The events since the load began. */
  let waiting: [event: E, id: string][] = [];
  /** Whether the last request for a position has failed. */
  let isAway = false;
  let end: 'denied' | 'closed' | undefined;
  let error: DeniedError | undefined;

  /** Notes the state and the status. */
  function update(): void {
    const state = saved?.state;
    const loadStatus = saved ? 'reloading' : 'loading';
    const status =
      end ?? (isAway ? 'away' : loading ? loadStatus : (connection?.status ?? 'connecting'));
    if (state === snapshot.state && status === snapshot.status) return;
    snapshot = { state, status, error };
    call(() => onChange?.(snapshot));
  }

  /** Ends the load under way, or the pause before it. */
  function stop(): void {
    loading?.abort();
    clearTimeout(timer);
    waiting = [];
  }

  function finish(last: 'denied' | 'closed', reason?: DeniedError): void {
    if (end) return;
    end = last;
    error = reason;
    stop();
    connection?.close();
    update();
  }

  /** Handles a failure, which ends all if it is final. */
  function fail(what: string, reason: unknown): void {
    if (reason instanceof DeniedError) return finish('denied', reason);
    call(() => (options.onWarning ?? console.warn)(`tidings: ${what} failed: ${reason}`));
  }

  /** Streams from a position. */
  function start(position: string): void {
    connection = open({
      ...rest,
      ...receiverOf(types, receive),
      position,
      onReset: () => void reload(),
      onStatus,
    });
    onStatus(connection.status, connection.error);
  }

  function onStatus(status: Status, reason?: DeniedError): void {
    if (status === 'denied' || status === 'closed') finish(status, reason);
    else update();
  }

  /** Returns what is saved after an event. */
  const after = ({ state, position }: InitialState<State>, event: E, id: string) => ({
    state: apply(state, event, id),
    position: id || position,
  });

  function receive(event: E, id: string): void {
    if (end) return;
    if (loading) {
      if (waiting.push([event, id]) > WAITING_MAX) void reload();
      return;
    }
    try {
      saved = after(saved!, event, id);
      update();
    } catch (reason) {
      // Without this event the state is wrong. The pause bounds the loads of a repeated failure.
      fail('apply', reason);
      void reload(1);
    }
  }

  /** Loads until it succeeds. A later call ends an earlier one, and drops its result. */
  async function reload(failures = 0): Promise<void> {
    if (end) return;
    stop();
    const { signal } = (loading = new AbortController());
    saved &&= { ...saved, position: '' };
    update();
    let retryAfterMs: number | undefined;
    for (; ; failures += 1) {
      if (failures) {
        const pauseMs = retryPause(DEFAULT_RETRY_MS, failures - 1, retryAfterMs);
        // Its end calls nothing if another load begins before.
        await new Promise((resolve) => (timer = setTimeout(resolve, pauseMs)));
      }
      // A load that begins now has the events that have arrived.
      waiting = [];
      retryAfterMs = undefined;
      let position = connection?.position;
      try {
        position ??= await ask({ ...rest, signal });
        if (signal.aborted) return;
        isAway = false;
        if (!connection) start(position);
      } catch (reason) {
        if (signal.aborted) return;
        fail('position', reason);
        retryAfterMs = (reason as { cause?: Refusal } | undefined)?.cause?.retryAfterMs;
        isAway = true;
        update();
        if (saved) continue;
      }
      try {
        if (signal.aborted) return;
        const loaded = await load({ position, signal });
        if (signal.aborted) return;
        let next: InitialState<State> = { state: loaded, position: position ?? '' };
        for (const [event, id] of waiting) next = after(next, event, id);
        saved = next;
        // Without a position nothing follows the state, so the next one is loaded again.
        if (position) loading = undefined;
        update();
        if (position) return;
      } catch (reason) {
        if (signal.aborted) return;
        fail('load', reason);
      }
    }
  }

  if (initial?.position) start(initial.position);
  else void reload();

  return {
    current: () => snapshot,
    saved: () => saved,
    reload: () => void reload(),
    close: () => finish('closed'),
  };
}
