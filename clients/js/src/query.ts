'use client';
/** TanStack Query: events invalidate queries. */
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useMemo, useRef } from 'react';

import {
  createInvalidator,
  type Invalidations,
  type Invalidator,
  type InvalidatorOptions,
} from './invalidator.js';
import type { AnyEvent, TypedEvent } from './options.js';
import { useEvents, useStatus } from './react/hooks.js';
import { useLatest } from './react/latest.js';

export { createInvalidator, type Invalidations, type Invalidator, type InvalidatorOptions };

export interface UseInvalidationOptions extends InvalidatorOptions {
  /**
   * The position that the server took before it loaded the data of the page. Without it the first
   * connection counts as a reset, since events before it may be missing.
   */
  position?: string | undefined;
}

/**
 * Invalidates queries by the events of a workspace, and all of them on a reset. A new map applies
 * to the next event; `windowMs` and `resetKeys` are those of the first render.
 */
export function useInvalidation<E extends TypedEvent = AnyEvent>(
  workspace: string,
  invalidations: Invalidations<E>,
  options: UseInvalidationOptions = {},
): void {
  const client = useQueryClient();
  const latest = useLatest(invalidations);
  const invalidator = useMemo(
    () => createInvalidator<E>(client, () => latest.current, options),
    [client, workspace],
  );
  const { position } = options;
  useEvents<E>(workspace, invalidator.onEvent, { position, onReset: invalidator.onReset });

  const { status } = useStatus(workspace);
  const isConnected = status === 'live' || status === 'catching-up';
  const begun = useRef<Invalidator<E>>(undefined);
  useEffect(() => {
    if (!isConnected || begun.current === invalidator) return;
    begun.current = invalidator;
    if (!position) invalidator.onReset();
  }, [isConnected, invalidator]);
}
