import {
  createContext,
  createElement,
  useContext,
  useMemo,
  type ReactElement,
  type ReactNode,
} from 'react';

import { connect } from '../connect.js';
import type { Auth } from '../credentials.js';
import { throughLatest, useLatest } from './latest.js';
import { shareConnection, type SharedConnection, type SharedOptions } from './shared-connection.js';

export interface TidingsProviderProps extends Omit<SharedOptions, 'auth' | 'connect'> {
  /** Returns a token or a ticket for a workspace, as the `auth` of `connect` does. */
  auth?: ((workspace: string) => ReturnType<Auth>) | undefined;
  /** Opens each connection instead of the `connect` of `tidings`. */
  connect?: SharedOptions['connect'] | undefined;
  children?: ReactNode;
}

/** Returns the connection to a workspace. It is not open before a hook joins it. */
type Connections = (workspace: string) => SharedConnection;

const Context = createContext<Connections | undefined>(undefined);

/**
 * Gives the hooks below it the broker. They share one connection a workspace.
 *
 * New functions apply from then on, without a reconnection. Any other new value reconnects.
 */
export function TidingsProvider({ children, ...options }: TidingsProviderProps): ReactElement {
  const latest = useLatest({ ...options, connect: options.connect ?? connect });
  // Functions count by their presence: a page writes most of them in its render.
  const key = JSON.stringify(options, (_, value) => typeof value === 'function' || value);
  const connections = useMemo(() => {
    // A workspace may have the name of a member that all objects have.
    const shared: Record<string, SharedConnection> = Object.create(null);
    return (workspace: string) => {
      return (shared[workspace] ??= shareConnection(workspace, () => throughLatest(latest, workspace)));
    };
  }, [key]);
  return createElement(Context.Provider, { value: connections }, children);
}

export function useConnection(workspace: string): SharedConnection {
  const connections = useContext(Context);
  if (!connections) throw new Error('no <TidingsProvider> above');
  return connections(workspace);
}
