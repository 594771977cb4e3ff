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
/** The longest wait for the first event behind the head before the client warns. */
const FIRST_EVENT_MS = 3_000;
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
  const { signal } = lifetime;

  let status: Status = 'connecting';
  let position = options.position;
  let error: DeniedError | undefined;

  let current: Stream | undefined;
  let successor: Stream | undefined;
  let held: Message[] = [];
  /** An EventSource sends no headers. */
  let usesFetch: unknown = auth || options.headers || !globalThis.EventSource;
  let isSuspended: boolean | undefined;
  let warning: string | undefined;
  /** The time of the next attempt while there is no stream. */
  let retryAt = 0;
  let retryMs = DEFAULT_RETRY_MS;
  /** The attempts without a `connected` event since the last one. */
  let failures = 0;
  let heartbeatMs = options.heartbeatMs ?? DEFAULT_HEARTBEAT_MS;
  let lastTickAt = Date.now();
  /** Whether the page was hidden then. */
  let wasHidden = isHidden();

  let token: Credentials | undefined;
  let renewAt = Infinity;
  /** Whether the client has renewed after a 401, without a `connected` event since. */
  let hasRenewed: boolean | undefined;

  const noteVersion = watchVersion(options);

  /** Gives a hint, which an attempt after another would repeat. */
  function warn(text: string): void {
    if (text === warning) return;
    warning = text;
    call(() => (options.onWarning ?? console.warn)(`tidings: ${text}`));
  }

  function setStatus(next: Status): void {
    if (next === status) return;
    status = next;
    call(() => options.onStatus?.(next, error));
  }

  function finish(last: Status): void {
    if (signal.aborted) return;
    lifetime.abort();
    closeAll();
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
    const stream = new AbortController() as Stream;
    stream.byteAt = Date.now();
    void run(stream);
    return stream;
  }

  /** Has credentials and a stream behind the position, and handles its end. */
  async function run(stream: Stream): Promise<void> {
    // A failure of the network and the end of a stream are the same: the client reconnects.
    let end: StreamEnd = {};
    try {
      const credentials = await getCredentials();
      if (stream.signal.aborted) return;
      stream.openedAt = stream.byteAt = Date.now();
      const headers: Record<string, string> = { ...options.headers, Accept: 'text/event-stream' };
      const target = new URL(url);
      const query = target.searchParams;
      if (position) query.set('last_event_id', position);
      // The statuses of this form give the reason of a refusal.
      if (usesFetch) query.set('errors', 'http');
      if (credentials?.ticket) query.set('ticket', credentials.ticket);
      if (credentials?.token) headers['Authorization'] = `Bearer ${credentials.token}`;
      end = await (options.transport ?? (usesFetch ? openFetchStream : openEventSourceStream))(
        stream,
        target,
        headers,
        !!options.withCredentials,
        (...message) => receive([stream, ...message]),
        { onRetry: (ms) => (retryMs = ms) },
      );
    } catch (reason) {
      if (reason instanceof DeniedError) end = { denied: reason };
      else if (!stream.openedAt) warn(`auth failed: ${reason}`);
    }
    if (!stream.signal.aborted) lose(stream, end);
  }

  /** Handles the end of a stream. `isSilent`: the watchdog has found that it is dead. */
  function lose(stream: Stream, end: StreamEnd, isSilent?: boolean): void {
    stream.abort();
    if (end.isUnauthorized) token = undefined;
    if (stream === successor) {
      hasRenewed ||= end.isUnauthorized;
      return loseSuccessor(end.denied);
    }
    // A successor that waits for credentials makes way. The rest of the old ones may be enough.
    if (successor && !successor.openedAt) loseSuccessor();
    current = undefined;
    // The successor takes over, or its deadline ends the wait.
    if (successor) return;
    const isRenewal = end.isUnauthorized && auth && !hasRenewed;
    if (isRenewal) {
      hasRenewed = true;
    } else if ((error = end.denied)) {
      return finish('denied');
    } else if (end.foreign) {
      warn(`no stream at ${url}: ${end.foreign}`);
    }
    // An EventSource hides the reason. A request over fetch finds it, or opens the stream.
    usesFetch ||= end.isHidden;
    if (isRenewal || end.isHidden || (isSilent && stream.isConnected)) current = attempt();
    else retryAt = Date.now() + retryPause(retryMs, failures++, end.retryAfterMs);
    setStatus('away');
  }

  /** Ends the wait for a successor. */
  function loseSuccessor(denied?: DeniedError): void {
    const isAsking = !successor!.openedAt;
    successor!.abort();
    successor = undefined;
    // Without new credentials the old stream continues, since it has some time left. Otherwise it
    // makes way, and the client resumes.
    if (isAsking && current && !denied) renewAt = Date.now() + RENEWAL_PAUSE_MS;
    else restart();
  }

  /** Closes all streams, and delivers what `current` has sent since its successor was opened. */
  function closeAll(): void {
    const messages = held;
    held = [];
    messages.forEach(handle);
    current?.abort();
    successor?.abort();
    current = successor = undefined;
  }

  /** Closes all streams. Resumes from the position without a pause, unless the page leaves. */
  function restart(isLeaving?: boolean): void {
    isSuspended = isLeaving;
    closeAll();
    if (signal.aborted) return;
    if (!isLeaving) current = attempt();
    if (status !== 'connecting') setStatus('away');
  }

  // === Messages ===

  function receive(message: Message): void {
    const [stream, type, data] = message;
    stream.hasEvents = true;
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
    if (signal.aborted) return;
    const isMessage = type === 'message';
    const isFirst = !stream.isConnected;
    // A held stream has heartbeats before its `connected` event.
    if (isFirst && !isMessage) return;
    const json = isMessage && !isFirst ? {} : parseJson(data);
    // Before the status: a tab that sees `live` has a place to resume from.
    position = lastEventId || position;
    if (isFirst) {
      stream.isConnected = true;
      hasRenewed = false;
      failures = 0;
      if (stream === successor) {
        current?.abort();
        current = stream;
        successor = undefined;
        held = [];
      } else {
        setStatus(json.resumed ? 'catching-up' : 'live');
      }
      if (signal.aborted) return;
      if (json.type === 'connected') {
        heartbeatMs = json.heartbeatMs ?? heartbeatMs;
        return noteVersion(json.schemas);
      }
    }
    // While the subscription of the node is down, events may be missing.
    if (type === 'tidings.heartbeat') return setStatus(json.live ? 'live' : 'away');
    if (status === 'away') setStatus('catching-up');
    if (isMessage) deliver(data, lastEventId);
    else call(() => options.onReset?.(json.reason, json.from, json.head));
  }

  // === Watchdog ===

  /** Does what is due. A stream without a byte for `intervals` is dead. */
  function tick(intervals = SILENT_INTERVALS): void {
    const now = Date.now();
    const sinceTick = now - lastTickAt;
    lastTickAt = now;
    const hasDelays = wasHidden;
    wasHidden = isHidden();
    if (isSuspended) return;
    // A browser delays the timers of a hidden page. A clock that was set back proves nothing.
    if (sinceTick < 0 || (sinceTick > SLEEP_MS && !hasDelays)) return restart();
    if (successor) {
      const { openedAt, byteAt } = successor;
      if (openedAt ? now - openedAt >= SUCCESSOR_MS : now - byteAt >= HEAD_MS) loseSuccessor();
    }
    if (!current) {
      if (!successor && now >= retryAt) current = attempt();
      return;
    }
    const silence = now - current.byteAt;
    if (silence > (current.headAt ? intervals * heartbeatMs : HEAD_MS)) {
      return lose(current, {}, true);
    }
    // Comments and `retry:` may pass a proxy that waits for more.
    if (!current.hasEvents && now - current.headAt! >= FIRST_EVENT_MS) {
      warn('a proxy may buffer: docs/guides/behind-a-proxy.md');
    }
    if (!current.isConnected) return;
    if (status === 'catching-up' && silence >= QUIET_MS) setStatus('live');
    if (now >= renewAt && !successor) successor = attempt();
  }

  /** Handles an event of the page, or of a worker. */
  function onPageEvent({ type }: Event): void {
    // A page in the back/forward cache would keep its connection.
    if (type === 'pagehide') restart(true);
    else if (type === 'online' || !isHidden()) wake(type === 'online');
    else tick();
  }

  function wake(isForced?: boolean): void {
    failures = retryAt = 0;
    if (isForced || isSuspended) restart();
    else tick(WAKE_INTERVALS);
  }

  // Node has none of them.
  for (const type of ['pagehide', 'pageshow', 'visibilitychange', 'online']) {
    globalThis.addEventListener?.(type, onPageEvent, { signal });
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
