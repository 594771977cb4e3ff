import { hashKey, type QueryClient, type QueryKey } from '@tanstack/react-query';

import type { AnyEvent, EventOf, TypedEvent } from './options.js';

const WINDOW_MS = 100;
/** The most keys that wait. Beyond it all queries of the client are invalidated. */
const KEYS_MAX = 1_000;
/** The hash of no key, which means all queries. */
const ALL = '';

/** The keys of queries that an event of each type invalidates. */
export type Invalidations<E extends TypedEvent = AnyEvent> = {
  [T in E['type']]?: readonly QueryKey[] | ((event: EventOf<E, T>) => readonly QueryKey[]);
};

export interface InvalidatorOptions {
  /** The shortest time between two invalidations of one key in milliseconds, 100 by default. */
  windowMs?: number | undefined;
  /**
   * The keys that a reset invalidates. By default these are all keys of the map, and all queries of
   * the client if the map has a function.
   */
  resetKeys?: readonly QueryKey[] | undefined;
}

/** The functions of a connection that invalidate queries. */
export interface Invalidator<E extends TypedEvent = AnyEvent> {
  onEvent(event: E): void;
  onReset(): void;
}

/**
 * Invalidates queries by events. Each key is invalidated once in a window at most, at its end, and
 * not before its last refetch has ended. So a flood of events neither multiplies nor starves it.
 */
export function createInvalidator<E extends TypedEvent = AnyEvent>(
  client: QueryClient,
  invalidations: Invalidations<E> | (() => Invalidations<E>),
  { windowMs = WINDOW_MS, resetKeys }: InvalidatorOptions = {},
): Invalidator<E> {
  /** The keys that wait by their hashes, and the hashes of those whose refetch is under way. */
  const waiting = new Map<string, QueryKey | undefined>();
  const running = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const map = () => (typeof invalidations === 'function' ? invalidations() : invalidations);

  function add(key: QueryKey | undefined): void {
    if (waiting.has(ALL)) return;
    if (key && waiting.size < KEYS_MAX) {
      waiting.set(hashKey(key), key);
    } else {
      waiting.clear();
      waiting.set(ALL, undefined);
    }
    schedule();
  }

  function schedule(): void {
    if (!timer && [...waiting.keys()].some((hash) => !running.has(hash))) {
      timer = setTimeout(flush, windowMs);
    }
  }

  function flush(): void {
    timer = undefined;
    for (const [hash, key] of [...waiting]) {
      if (running.has(hash)) continue;
      waiting.delete(hash);
      running.add(hash);
      void invalidate(key).then((isLate) => {
        running.delete(hash);
        if (isLate) add(key);
        else schedule();
      });
    }
  }

  /** Returns whether a fetch that began before may have missed the change. */
  async function invalidate(queryKey: QueryKey | undefined): Promise<boolean> {
    const filters = queryKey ? { queryKey } : {};
    // TanStack Query begins no second fetch beside these, and takes their result for a new one.
    const early = client
      .getQueryCache()
      .findAll({ ...filters, fetchStatus: 'fetching' })
      .filter((query) => query.state.data === undefined || !query.isActive());
    const fetches = early.map((query) => query.fetch());
    await Promise.allSettled([client.invalidateQueries(filters), ...fetches]);
    return early.length > 0;
  }

  return {
    onEvent(event) {
      const all: Invalidations<any> = map();
      // A type may have the name of a member that all objects have.
      const keys = Object.hasOwn(all, event.type) ? all[event.type] : undefined;
      for (const key of (typeof keys === 'function' ? keys(event) : keys) ?? []) add(key);
    },
    onReset() {
      if (resetKeys) return resetKeys.forEach(add);
      for (const keys of Object.values<Invalidations<any>[string]>(map())) {
        if (typeof keys === 'function') add(undefined);
        else keys?.forEach(add);
      }
    },
  };
}
