import { useEffect, useMemo, useSyncExternalStore } from 'react';

import { joinState, type Join, type StateOptions } from '../join.js';
import { firstSnapshot, type LiveSnapshot } from '../live-snapshot.js';
import type { AnyEvent, ConnectOptions, EventHandlers, TypedEvent } from '../options.js';
import { throughLatest, useLatest, type Latest } from './latest.js';
import { useConnection } from './provider.js';
import {
  CONNECTING,
  type MemberOptions,
  type SharedConnection,
  type StatusSnapshot,
} from './shared-connection.js';

export interface UseEventsOptions extends Pick<ConnectOptions, 'onReset'> {
  /** The position of a state that the server has loaded. Its events follow. */
  position?: string | undefined;
}

/**
 * Passes the events of a workspace to a function, or to the function for their type. New functions
 * apply to the next event.
 */
export function useEvents<E extends TypedEvent = AnyEvent>(
  workspace: string,
  handlers: EventHandlers<E> | ((event: E, id: string) => void),
  options: UseEventsOptions = {},
): void {
  const shared = useConnection(workspace);
  const latest = useLatest<MemberOptions>({
    position: options.position!,
    onEvent(event, id) {
      const { type } = event;
      const all = handlers as any;
      if (typeof all === 'function') all(event, id);
      // A type may have the name of a member that all objects have.
      else if (Object.hasOwn(all, type)) all[type](event, id);
    },
    onReset: (...reset) => options.onReset?.(...reset),
  });
  useEffect(() => {
    const connection = shared.join(throughLatest<MemberOptions>(latest));
    return () => connection.close();
  }, [shared]);
}

export interface UseLiveOptions<State, E extends TypedEvent = AnyEvent> extends StateOptions<
  State,
  E
> {
  workspace: string;
}

export interface UseLiveResult<State> extends LiveSnapshot<State> {
  /** Loads the state again. The old one remains until then. */
  reload(): void;
}

/**
 * Keeps a state up to date by the events of a workspace: see `live` in `tidings/live`.
 *
 * New functions apply to the next load and the next event. New values of the provider reconnect,
 * and the state remains. A new workspace begins with its own `initial`, or without a state.
 */
export function useLive<State, E extends TypedEvent = AnyEvent>(
  options: UseLiveOptions<State, E>,
): UseLiveResult<State> {
  const shared = useConnection(options.workspace);
  const latest = useLatest(options);
  const store = useMemo(() => liveStore(latest, options), [options.workspace]);
  const subscribe = useMemo(() => store.over(shared), [shared]);
  const snapshot = useSyncExternalStore(subscribe, store.current, store.first);
  return { ...snapshot, reload: store.reload };
}

/** Returns the state of a workspace as a store for React. */
function liveStore<State, E extends TypedEvent>(
  latest: Latest<UseLiveOptions<State, E>>,
  { initial }: UseLiveOptions<State, E>,
) {
  const first = firstSnapshot(initial);
  /** The last join, which may have ended. */
  let joined: Join<State> | undefined;

  return {
    first: () => first,
    current: () => joined?.current() ?? first,
    reload: () => joined?.reload(),
    /** Subscribes over a connection. A join begins, with the state of the one before it. */
    over: (shared: SharedConnection) => (listener: () => void) => {
      joined = joinState<State, E>({
        ...throughLatest<UseLiveOptions<State, E>>(latest),
        url: '',
        initial: joined?.saved() ?? initial,
        connect: (member) => shared.join(member as unknown as MemberOptions),
        fetchPosition: shared.position,
        onWarning: shared.warn,
        onChange: listener,
      });
      return joined.close;
    },
  };
}

/** Returns the status of the connection that other hooks keep to a workspace. */
export function useStatus(workspace: string): StatusSnapshot {
  const { subscribe, current } = useConnection(workspace);
  return useSyncExternalStore(subscribe, current, () => CONNECTING);
}
