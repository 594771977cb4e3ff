import type { DeniedError } from './denied.js';
import type { Status } from './options.js';

/**
 * The state of a join: that of its connection, and two more.
 *
 * - `loading`: there is no state yet.
 * - `reloading`: events may be missing in the state, and a load is under way.
 */
export type LiveStatus = Status | 'loading' | 'reloading';

/** A state and its position, which the server took before it loaded the state. */
export interface InitialState<State> {
  state: State;
  position: string;
}

export interface LiveSnapshot<State> {
  /** Undefined until the first load has ended. */
  readonly state: State | undefined;
  readonly status: LiveStatus;
  /** The reason of `denied`. */
  readonly error: DeniedError | undefined;
}

/** Returns the snapshot before the first change. */
export const firstSnapshot = <State>(
  initial: InitialState<State> | undefined,
): LiveSnapshot<State> => ({
  state: initial?.state,
  status: initial ? 'connecting' : 'loading',
  error: undefined,
});
