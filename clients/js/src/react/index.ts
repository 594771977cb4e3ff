'use client';
/** React: hooks that share one connection a workspace. */
export type { LoadContext } from '../join.js';
export type { InitialState, LiveSnapshot, LiveStatus } from '../live-snapshot.js';
export {
  useEvents,
  useLive,
  useStatus,
  type UseEventsOptions,
  type UseLiveOptions,
  type UseLiveResult,
} from './hooks.js';
export { TidingsProvider, type TidingsProviderProps } from './provider.js';
export type { StatusSnapshot } from './shared-connection.js';
