import { call } from '../application.js';
import type { DeniedError } from '../denied.js';
import type { ConnectOptions, Connection, Status } from '../options.js';
import { fetchPosition } from '../position.js';
import { receiverOf } from '../receiver.js';

/** The options that all connections below a provider have. */
export interface SharedOptions extends Omit<
  ConnectOptions,
  'workspace' | 'events' | 'onEvent' | 'onPayload' | 'onReset' | 'onStatus' | 'position'
> {
  /** The broker sends events of these types alone. */
  types?: readonly string[] | undefined;
  /** Opens each connection. A method would accept a function that requires further options. */
  connect: (options: ConnectOptions) => Connection;
}

/** The options of one hook. */
export type MemberOptions = Pick<
  ConnectOptions,
  'position' | 'onEvent' | 'onReset' | 'onStatus'
>;

export interface StatusSnapshot {
  readonly status: Status;
  /** The reason of `denied`. */
  readonly error: DeniedError | undefined;
}

/** The status of a workspace without a connection so far. */
export const CONNECTING: StatusSnapshot = { status: 'connecting', error: undefined };

/** The connection to one workspace, which several hooks share. */
export interface SharedConnection {
  /** Adds a hook. The first one opens the connection. */
  join(member: MemberOptions): Connection;
  /** Returns a place behind which members receive all events. */
  position(): Promise<string>;
  /** Passes a hint for developers on. */
  warn(text: string): void;
  /** The status, as a store of React. */
  current(): StatusSnapshot;
  subscribe(listener: () => void): () => void;
}

/**
 * Shares a connection. It opens with the first hook, and closes after the last one has left. A hook
 * that leaves and returns in one turn, as under StrictMode, keeps it open.
 */
export function shareConnection(workspace: string, shared: () => SharedOptions): SharedConnection {
  const members = new Set<MemberOptions>();
  const listeners = new Set<() => void>();
  let connection: Connection | undefined;
  /** The position with which the connection was opened. */
  let from: string | undefined;
  /** The request for a position to open the connection from. */
  let asking: Promise<string> | undefined;
  let snapshot = CONNECTING;

  /** Returns the place behind which the connection delivers all events, if there is one. */
  const reached = () => connection && (connection.position ?? from);

  function setStatus(status: Status, error?: DeniedError): void {
    snapshot = { status, error };
    listeners.forEach((listener) => listener());
  }

  /** Returns a function that calls one of each member, apart from those that join meanwhile. */
  const each =
    (name: 'onEvent' | 'onReset' | 'onStatus') =>
    (...all: unknown[]): void => {
      for (const member of [...members]) {
        // Another member may have removed it.
        if (members.has(member)) call(() => (member[name] as Function | undefined)?.(...all));
      }
    };

  function disconnect(): void {
    const last = connection;
    // Its last status is not that of this connection.
    connection = undefined;
    last?.close();
  }

  function open(position?: string): void {
    disconnect();
    from = position;
    const { types, connect, ...rest } = shared();
    const opened = connect({
      ...rest,
      ...receiverOf(types, each('onEvent')),
      position: position!,
      workspace,
      onReset: each('onReset'),
      onStatus(status, error) {
        if (connection !== opened) return;
        setStatus(status, error);
        each('onStatus')(status, error);
      },
    });
    connection = opened;
    setStatus(opened.status, opened.error);
  }

  /** Opens or closes the connection in the next turn, if its members need that then. */
  function settleLater(): void {
    setTimeout(() => {
      if (!members.size) {
        if (connection) setStatus('closed');
        disconnect();
      } else if (!connection && !asking) {
        open();
      }
    });
  }

  return {
    join(member) {
      const { position } = member;
      const place = reached();
      members.add(member);
      if (!position) {
        // A further hook may bring a position.
        settleLater();
      } else if (!place) {
        // A connection without a position has delivered nothing yet, so another one replaces it.
        open(position);
      } else if (place !== position) {
        // The connection may have passed the position, and positions have no order.
        queueMicrotask(() => {
          if (members.has(member)) {
            call(() => member.onReset?.('unknown-position', position, place));
          }
        });
      }
      return {
        get status() {
          return connection?.status ?? 'connecting';
        },
        get position() {
          return reached();
        },
        get error() {
          return connection?.error;
        },
        close() {
          members.delete(member);
          settleLater();
        },
      };
    },

    async position() {
      const place = reached();
      if (place) return place;
      asking ??= fetchPosition({ ...shared(), workspace }).finally(() => {
        asking = undefined;
        settleLater();
      });
      return asking;
    },

    warn: (text) => (shared().onWarning ?? console.warn)(text),

    current: () => snapshot,

    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
