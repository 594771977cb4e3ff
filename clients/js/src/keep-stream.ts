import { call, parseJson, watchVersion } from './application.js';
import { renewalTime, type Credentials } from './credentials.js';
import { DeniedError } from './denied.js';
import { openEventSourceStream } from './event-source-stream.js';
import { openFetchStream } from './fetch-stream.js';
import type { ConnectOptions, Connection, Status, TypedEvent } from './options.js';
import { DEFAULT_HEARTBEAT_MS, DEFAULT_RETRY_MS, retryPause } from './pauses.js';
import type { Stream, StreamEnd } from './stream.js';

/** The period of the watchdog. */
const TICK_MS = 500;
/** A longer time between two ticks says that the machine has slept. */
const SLEEP_MS = 5_000;
/** The longest wait for credentials, and for the head of a stream. */
const HEAD_MS = 10_000;
/** The longest wait for the first byte behind the head before the client warns. */
const FIRST_BYTE_MS = 3_000;
/** A stream that has resumed and was quiet for this long has caught up. */
const QUIET_MS = 500;
/** The longest wait for the request of a successor: with the period of the watchdog it is 2 s. */
const SUCCESSOR_MS = 1_500;
/** The pause before the next renewal if the application returned no credentials. */
const RENEWAL_PAUSE_MS = 5_000;
/** A stream is dead after this many intervals without a byte. */
const SILENT_INTERVALS = 2.5;
/** The same when the page is visible again: one heartbeat is missing. */
const WAKE_INTERVALS = 1.2;

/** Whether the page is hidden, so that the browser delays its timers. */
export const isHidden = (): boolean | undefined => globalThis.document?.hidden;

/** A connection whose owner may do the work of its timers. */
export interface KeptStream extends Connection {
  /** Does what is due. A browser delays the timers of a hidden page. */
  tick(): void;
  /** Does what a page does when it is visible again: one missing heartbeat is enough. */
  wake(): void;
}

type Message = [stream: Stream, type: string, data: string, lastEventId: string];

/**
 * Keeps one stream of a workspace open.
 *
 * The events of `current` reach the application. To renew credentials, `successor` opens from the
 * position while `current` continues. Meanwhile the messages of `current` wait in `held`. If the
 * successor becomes live, its replay has them, and the client drops them. Otherwise the client
 * delivers them and resumes behind them. So the application sees what one reconnection shows, in
 * both cases. `deliver` receives the payloads with their ids.
 */
export function keepStream<E extends TypedEvent>(
  options: ConnectOptions<E>,
  url: URL,
  deliver: (payload: string, id: string) => void,
): KeptStream {
  const { auth } = options;
  const lifetime = new AbortController();

  let status: Status = 'connecting';
  let position = options.position;
  let error: DeniedError | undefined;

  let current: Stream | undefined;
  let successor: Stream | undefined;
  let held: Message[] = [];
  /** An EventSource sends no headers. */
  let usesFetch = !!(auth || options.headers) || !globalThis.EventSource;
  let isSuspended = false;
  let hasWarned = false;
  /** The time of the next attempt while there is no stream. */
  let retryAt = 0;
  let retryMs = DEFAULT_RETRY_MS;
  /** The attempts without a `connected` event since the last one. */
  let failures = 0;
  let heartbeatMs = options.heartbeatMs ?? DEFAULT_HEARTBEAT_MS;
  let lastTickAt = Date.now();

  let token: Credentials | undefined;
  let renewAt = Infinity;
  /** Whether the client has renewed after a 401, without a `connected` event since. */
  let hasRenewed = false;

  const noteVersion = watchVersion(options);
  const isDone = () => lifetime.signal.aborted;
  const warn = (text: string) =>
    call(() => (options.onWarning ?? console.warn)(`tidings: ${text}`));

  function setStatus(next: Status): void {
    if (next === status) return;
    status = next;
    call(() => options.onStatus?.(next, error));
  }

  function finish(last: Status): void {
    if (isDone()) return;
    lifetime.abort();
    closeAll();
    held = [];
    clearInterval(ticker);
    setStatus(last);
  }

  // === Attempts ===

  async function getCredentials(): Promise<Credentials | undefined> {
    if (!auth || (token && Date.now() < renewAt)) return token;
    const given = await auth();
    const credentials = typeof given === 'string' ? { token: given } : given;
    renewAt = renewalTime(credentials, Date.now());
    token = credentials.token ? credentials : undefined;
    return credentials;
  }

  /** Begins an attempt to have a stream. */
  function attempt(): Stream {
    const stream: Stream = Object.assign(new AbortController(), { byteAt: Date.now() });
    void run(stream);
    return stream;
  }

  /** Has credentials and a stream, and handles its end. */
  async function run(stream: Stream): Promise<void> {
    // A failure of the network and the end of a stream are the same: the client reconnects.
    let end: StreamEnd = {};
    try {
      const credentials = await getCredentials();
      if (stream.signal.aborted) return;
      end = await open(stream, credentials);
    } catch (reason) {
      if (reason instanceof DeniedError) end = { denied: reason };
      if (!stream.openedAt) warn(`auth failed: ${reason}`);
    }
    if (!stream.signal.aborted) lose(stream, end);
  }

  /** Opens the stream of an attempt behind the position. Resolves or rejects at its end. */
  function open(stream: Stream, credentials: Credentials | undefined): Promise<StreamEnd> {
    stream.openedAt = stream.byteAt = Date.now();
    const headers: Record<string, string> = { ...options.headers, Accept: 'text/event-stream' };
    const target = new URL(url);
    const query = target.searchParams;
    if (position) query.set('last_event_id', position);
    // The statuses of this form give the reason of a refusal.
    if (usesFetch) query.set('errors', 'http');
    if (credentials?.ticket) query.set('ticket', credentials.ticket);
    if (credentials?.token) headers['Authorization'] = `Bearer ${credentials.token}`;
    return (usesFetch ? openFetchStream : openEventSourceStream)(
      stream,
      target,
      headers,
      !!options.withCredentials,
      (...message) => receive([stream, ...message]),
      (ms) => (retryMs = ms),
    );
  }

  /** Handles the end of a stream. `isSilent`: the watchdog has found that it is dead. */
  function lose(stream: Stream, end: StreamEnd, isSilent = false): void {
    stream.abort();
    if (end.isUnauthorized) token = undefined;
    if (stream === successor) {
      hasRenewed ||= !!end.isUnauthorized;
      return loseSuccessor(end);
    }
    current = undefined;
    // The successor takes over, or its deadline ends the wait.
    if (successor) return;
    const isRenewal = end.isUnauthorized && auth && !hasRenewed;
    if (isRenewal) {
      hasRenewed = true;
    } else if (end.denied) {
      error = end.denied;
      return finish('denied');
    }
    // An EventSource hides the reason. A request over fetch finds it, or opens the stream.
    usesFetch ||= !!end.isHidden;
    if (isRenewal || end.isHidden || (isSilent && stream.isConnected)) current = attempt();
    else retryAt = Date.now() + retryPause(retryMs, failures++, end.retryAfterMs);
    setStatus('away');
  }

  /** Ends the wait for a successor. */
  function loseSuccessor({ denied }: StreamEnd): void {
    const isAsking = !successor!.openedAt;
    successor!.abort();
    successor = undefined;
    // Without new credentials the old stream continues, since it has some time left. Otherwise it
    // makes way, and the client resumes.
    if (isAsking && current && !denied) renewAt = Date.now() + RENEWAL_PAUSE_MS;
    else restart();
  }

  function closeAll(): void {
    current?.abort();
    successor?.abort();
    current = successor = undefined;
  }

  /** Closes all streams and resumes from the position, without a pause. */
  function restart(): void {
    isSuspended = false;
    deliverHeld();
    if (isDone()) return;
    closeAll();
    current = attempt();
    if (status !== 'connecting') setStatus('away');
  }

  // === Messages ===

  function receive(message: Message): void {
    const [stream, type, data] = message;
    if (type === 'tidings.reconnect') {
      const json = parseJson(data);
      retryMs = json.retryMs ?? retryMs;
      if (json.reason === 'expired') token = undefined;
      lose(stream, {});
    } else if (stream === current && successor?.openedAt) {
      held.push(message);
    } else {
      handle(message);
    }
  }

  function handle([stream, type, data, lastEventId]: Message): void {
    if (isDone()) return;
    const isMessage = type === 'message';
    const isFirst = isMessage && !stream.isConnected;
    const json = isMessage && !isFirst ? {} : parseJson(data);
    if (isFirst) onConnected(stream, json.resumed);
    // A held stream has heartbeats before its `connected` event.
    if (!stream.isConnected || isDone()) return;
    position = lastEventId || position;
    if (isFirst && json.type === 'connected') {
      heartbeatMs = json.heartbeatMs ?? heartbeatMs;
      return noteVersion(json.schemas);
    }
    // While the subscription of the node is down, events may be missing.
    if (type === 'tidings.heartbeat') return setStatus(json.live ? 'live' : 'away');
    if (status === 'away') setStatus('catching-up');
    if (isMessage) deliver(data, lastEventId);
    else call(() => options.onReset?.(json.reason, json.from, json.head));
  }

  function onConnected(stream: Stream, isResumed: boolean): void {
    stream.isConnected = true;
    hasRenewed = false;
    failures = 0;
    if (stream !== successor) return setStatus(isResumed ? 'catching-up' : 'live');
    current?.abort();
    current = stream;
    successor = undefined;
    held = [];
  }

  /** Delivers what `current` has sent since its successor was opened. */
  function deliverHeld(): void {
    const messages = held;
    held = [];
    messages.forEach(handle);
  }

  // === Watchdog ===

  /** Does what is due. A stream without a byte for `intervals` is dead. */
  function tick(intervals = SILENT_INTERVALS): void {
    const now = Date.now();
    const sinceTick = now - lastTickAt;
    lastTickAt = now;
    if (isSuspended) return;
    // A browser delays the timers of a hidden page. A clock that was set back proves nothing.
    if (sinceTick < 0 || (sinceTick > SLEEP_MS && !isHidden())) return restart();
    if (successor) {
      const { openedAt, byteAt } = successor;
      if (openedAt ? now - openedAt >= SUCCESSOR_MS : now - byteAt >= HEAD_MS) loseSuccessor({});
    }
    if (!current) {
      if (!successor && now >= retryAt) current = attempt();
      return;
    }
    const silence = now - current.byteAt;
    if (silence > (current.headAt ? intervals * heartbeatMs : HEAD_MS)) {
      return lose(current, {}, true);
    }
    if (current.headAt && !current.hasBytes && silence >= FIRST_BYTE_MS && !hasWarned) {
      hasWarned = true;
      warn('a proxy may buffer the stream, see docs/guides/behind-a-proxy.md');
    }
    if (!current.isConnected) return;
    if (status === 'catching-up' && silence >= QUIET_MS) setStatus('live');
    if (now >= renewAt && !successor) successor = attempt();
  }

  /** Handles an event of the page, or of a worker. */
  function onPageEvent({ type }: Event): void {
    if (type === 'pagehide') {
      // A page in the back/forward cache would keep its connection.
      deliverHeld();
      isSuspended = true;
      closeAll();
      return setStatus('away');
    }
    if (type === 'online' || !isHidden()) wake(type === 'online');
  }

  function wake(isForced?: boolean): void {
    failures = retryAt = 0;
    if (isForced || isSuspended) restart();
    else tick(WAKE_INTERVALS);
  }

  // Node has none of them.
  for (const type of ['pagehide', 'pageshow', 'visibilitychange', 'online']) {
    globalThis.addEventListener?.(type, onPageEvent, { signal: lifetime.signal });
  }
  const ticker = setInterval(tick, TICK_MS);
  current = attempt();

  return {
    get status() {
      return status;
    },
    get position() {
      return position;
    },
    get error() {
      return error;
    },
    close: () => finish('closed'),
    tick,
    wake,
  };
}
