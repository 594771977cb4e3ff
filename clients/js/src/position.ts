import { readRefusal } from './denied.js';
import type { ConnectOptions } from './options.js';
import { workspaceUrl } from './workspace-url.js';

/** The longest wait for a response. */
const RESPONSE_MS = 10_000;

export interface PositionOptions
  extends Pick<ConnectOptions, 'url' | 'workspace' | 'auth' | 'headers' | 'withCredentials'> {
  /** Ends the request. */
  signal?: AbortSignal;
}

/**
 * Returns the head of the log of a workspace, as a position to stream from. A state that is loaded
 * after that and a stream from there miss no event.
 *
 * A 401 makes it ask `auth` once more.
 *
 * @throws DeniedError if the broker refuses for good, and another error if it may be tried again.
 */
export async function fetchPosition(options: PositionOptions): Promise<string> {
  const { auth, headers, withCredentials, signal } = options;
  const address = workspaceUrl(options, 'position');
  const request = new AbortController();
  const abort = () => request.abort(signal?.reason ?? new Error('no response'));
  const deadline = setTimeout(abort, RESPONSE_MS);
  signal?.addEventListener('abort', abort);
  try {
    // A signal of React Native has neither `throwIfAborted` nor `reason`.
    if (signal?.aborted) abort();
    for (let isSecond = false; ; isSecond = true) {
      const given = await auth?.();
      const { token, ticket } = typeof given === 'string' ? { token: given } : (given ?? {});
      if (ticket) address.searchParams.set('ticket', ticket);
      const response = await fetch(address, {
        headers: { ...headers, ...(token && { Authorization: `Bearer ${token}` }) },
        credentials: withCredentials ? 'include' : 'same-origin',
        cache: 'no-store',
        signal: request.signal,
      });
      if (response.status === 200) {
        const { position } = await response.json();
        if (position) return position;
      }
      const cause = await readRefusal(response);
      if (!(cause.isUnauthorized && auth) || isSecond) {
        throw cause.denied ?? new Error(`status ${response.status}`, { cause });
      }
    }
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener('abort', abort);
  }
}
