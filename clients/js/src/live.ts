/** State and stream without a gap: `live` joins a state of the app with the events after it. */
import { connect } from './connect.js';
import { joinState, type JoinOptions } from './join.js';
import type { LiveSnapshot } from './live-snapshot.js';
import type { AnyEvent, TypedEvent } from './options.js';
import { fetchPosition } from './position.js';

export type { LoadContext, StateOptions } from './join.js';
export type { InitialState, LiveSnapshot, LiveStatus } from './live-snapshot.js';
export { fetchPosition, type PositionOptions } from './position.js';

export type LiveOptions<State, E extends TypedEvent = AnyEvent> = Omit<
  JoinOptions<State, E>,
  'connect' | 'fetchPosition'
> &
  Partial<Pick<JoinOptions<State, E>, 'connect' | 'fetchPosition'>>;

export interface Live<State> extends LiveSnapshot<State> {
  /** Loads the state again. The old one remains until then. */
  reload(): void;
  /** Ends the connection and the load. No function of the application is called after that. */
  close(): void;
}

/**
 * Keeps a state of the application up to date: takes the position, loads the state, and applies the
 * events from the position. On a reset it loads again.
 *
 * A failure of the position or the load is tried again after a pause. A final refusal ends it.
 * Without a node the state is loaded once, and again when one is reached.
 *
 * @throws TypeError if `workspace` is empty.
 */
export function live<State, E extends TypedEvent = AnyEvent>(
  options: LiveOptions<State, E>,
): Live<State> {
  if (!options.workspace) throw new TypeError('no workspace');
  const { current, reload, close } = joinState({ connect, fetchPosition, ...options });
  return {
    get state() {
      return current().state;
    },
    get status() {
      return current().status;
    },
    get error() {
      return current().error;
    },
    reload,
    close,
  };
}
