import { useInsertionEffect, useRef } from 'react';

/** A reference to the value of the newest render that is on the page. */
export interface Latest<T> {
  readonly current: T;
}

export function useLatest<T>(value: T): Latest<T> {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}

/**
 * Returns the newest options. Each function among them always calls the newest one, with further
 * parameters behind its own.
 */
export function throughLatest<T extends object>(latest: Latest<object>, ...more: unknown[]): T {
  const entries = Object.entries(latest.current).map(([name, value]) => [
    name,
    typeof value === 'function'
      ? (...all: unknown[]) => (latest as Latest<any>).current[name]?.(...all, ...more)
      : value,
  ]);
  return Object.fromEntries(entries);
}
