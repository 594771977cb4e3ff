import { call, deliver, watchVersion } from './application.js';
import { DeniedError } from './denied.js';
import { isHidden, keepStream, type KeptStream } from './keep-stream.js';
import type { AnyEvent, ConnectOptions, Connection, Status, TypedEvent } from './options.js';
import { isAtOrBefore } from './position-order.js';
import type { FollowerMessage, Item, LeaderMessage } from './tab-messages.js';

/** A follower asks for a beat after this time without one. The leader has as long to respond. */
const BEAT_MS = 1_000;
/** The wait between a claim and the steal, in which a smaller claim of another tab wins. */
const CLAIM_MS = 100;
/** A longer time between two looks says that the machine has slept. */
const SLEEP_MS = 5_000;
/** A new leader may repeat what a tab has already, and reaches its position within this time. */
const REPEAT_MS = 1_000;
/** The messages that a tab keeps while it catches up. The oldest ones go first. */
const WAITING_MAX = 1_000;

const LOGOUT = 'tidings logout';

export interface SharedOptions<E extends TypedEvent = AnyEvent> extends ConnectOptions<E> {
  /** The signed-in user, by any stable id. Users never share a stream. */
  user: string;
}

/** The functions that end the connections of this tab. */
const logouts = new Set<(user: string) => void>();

/** Opens a channel. Returns nothing if the page may not use any. */
function openChannel(name: string): BroadcastChannel | undefined {
  try {
    return new BroadcastChannel(name);
  } catch {
    return undefined;
  }
}

/** Ends the connections of a user in all tabs. */
export function endSharedStreams(user: string): void {
  const channel = openChannel(LOGOUT);
  channel?.postMessage(user);
  channel?.close();
  logouts.forEach((end) => end(user));
}

/**
 * Takes part in one stream of all tabs.
 *
 * The tab that holds a Web Lock is the leader: it keeps the stream, and broadcasts each event with
 * its number. The others follow, and wait for the lock. The browser releases it when the tab of the
 * leader ends. A leader that does not respond is frozen, and a follower steals its lock. The new
 * leader has a higher term, and all tabs ignore lower ones.
 *
 * Each tab has its own position. It follows the leader from a message with the same position, or
 * with one before it. Until there is one, it keeps the messages, and catches up by its own stream.
 *
 * A page that may not use locks leads without followers: it has a stream, and no channel.
 */
export function shareStream<E extends TypedEvent>(
  options: SharedOptions<E>,
  url: URL,
): Connection {
  const { workspace, transport } = options;
  const traces = transport?.traces;
  const name = `tidings ${url} ${options.user}`;
  const lifetime = new AbortController();
  const { signal } = lifetime;
  const noteVersion = watchVersion(options);

  let status: Status = 'connecting';
  let position = options.position;
  let error: DeniedError | undefined;

  let channel: BroadcastChannel | undefined;
  /** The turn of this tab for the lock. Aborting it leaves the queue, or releases the lock. */
  let turn: AbortController | undefined;
  let isLeader = false;
  /** The stream of the leader, or one to catch up. */
  let stream: KeptStream | undefined;
  /** The leader's term, and the number of its last event that this tab has. */
  let term = 0;
  let count = 0;
  /** The version of the broker's schemas. */
  let schemas: string | undefined;
  /** The leader's messages, until one of them has the position of this tab. */
  let waiting: LeaderMessage[] | undefined;
  /** The position up to which this tab ignores the events of the leader, since it has them. */
  let passed: string | undefined;
  /** The time from which this tab may catch up by a stream of its own. */
  let catchUpAt = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let messageAt = 0;
  /** Whether a tab waits for a beat. */
  let isAsked = false;
  let claim = 0;

  const currentPosition = () => (stream ? stream.position : position);
  const send = (message: FollowerMessage | LeaderMessage) => channel?.postMessage(message);

  function setStatus(next: Status, reason?: DeniedError): void {
    if (signal.aborted || next === status) return;
    status = next;
    error = reason;
    if (next === 'denied' || next === 'closed') {
      leave();
      lifetime.abort();
    }
    call(() => options.onStatus?.(next, error));
  }

  // === Streams ===

  /** Opens a stream behind the position, as the leader or to catch up. */
  function openStream(): void {
    const opened = keepStream(
      {
        ...options,
        position,
        // Each tab compares the version with its own.
        schemas: undefined,
        onReset: (...reset) => receive({ reset }),
        onStatus(next, reason) {
          if (stream !== opened) return;
          // The position may already be that of an event which follows at once.
          const isAhead = next === 'catching-up';
          if (isLeader && !isAhead) broadcast(undefined, next, reason);
          setStatus(next, reason);
          if (!isAhead) align();
        },
        onOutdated(version) {
          schemas = version;
          noteVersion(version);
          if (isLeader) broadcast();
        },
      },
      url,
      (payload, id) => receive({ payload, id, traceparent: traces?.get(workspace, id) }),
    );
    stream = opened;
  }

  function closeStream(): void {
    position = currentPosition();
    const closed = stream;
    stream = undefined;
    closed?.close();
  }

  /** Takes what a stream of this tab has received. */
  function receive(item: Item): void {
    if (isLeader) {
      count += 1;
      broadcast(item);
    }
    show(item);
    align();
  }

  function show(item: Item): void {
    if (signal.aborted) return;
    if ('reset' in item) return call(() => options.onReset?.(...item.reset));
    const { payload, id, traceparent } = item;
    if (traceparent) traces?.set(workspace, id, traceparent);
    deliver(options, payload, id);
  }

  // === Leader ===

  /** Waits for the lock, or steals it. Leads while this tab holds it. */
  function queue(steal = false): void {
    turn?.abort();
    const mine = (turn = new AbortController());
    const hold = () =>
      new Promise<unknown>((release) => {
        // A steal cannot be aborted, so the turn may be over.
        if (mine.signal.aborted) return release(0);
        mine.signal.addEventListener('abort', release);
        lead();
      });
    navigator.locks
      .request(name, steal ? { steal } : { signal: mine.signal }, hold)
      .catch(({ name }) => {
        if (turn !== mine) return;
        // Another tab has stolen the lock. Any other error says that the page may not use locks.
        if (name === 'AbortError') resign();
        else leadAlone();
      });
  }

  /** Keeps a stream for this tab. Without a lock, two leaders would replace each other. */
  function leadAlone(): void {
    channel?.close();
    channel = undefined;
    lead();
  }

  function lead(): void {
    clearTimeout(timer);
    isLeader = true;
    waiting = undefined;
    count = 0;
    // Higher than that of a frozen leader, also in a tab that has just joined.
    term = Math.max(term + 1, Date.now() + Math.random());
    if (!stream) {
      openStream();
      // The application may close the connection here.
      if (status !== 'connecting') setStatus('away');
    }
    broadcast();
  }

  function broadcast(item?: Item, next = status, reason = error): void {
    const denied = reason && { ...reason, message: reason.message };
    send({ term, count, position: stream?.position, status: next, denied, schemas, item });
  }

  /** Becomes a follower again. */
  function resign(): void {
    isLeader = false;
    closeStream();
    waiting = [];
    catchUpAt = Date.now() + REPEAT_MS;
    watch();
    queue();
  }

  // === Followers ===

  function onLeaderMessage(message: LeaderMessage): void {
    if (!channel || message.term < term) return;
    if (message.term > term) {
      if (isLeader) resign();
      term = message.term;
      // A leader without events since its start has the position that it began with.
      if (!waiting) catchUpAt = Date.now() + REPEAT_MS * (1 + Math.random());
      waiting = [];
    }
    watch();
    if (waiting || message.count !== count + (message.item ? 1 : 0)) catchUp(message);
    else follow(message);
  }

  /** Keeps a message until this tab has caught up. */
  function catchUp(message: LeaderMessage): void {
    if (!waiting) {
      waiting = [];
      catchUpAt = 0;
    }
    waiting.push(message);
    if (waiting.length > WAITING_MAX) waiting.shift();
    align();
  }

  /**
   * Follows the leader if it has a message to follow from. Otherwise catches up.
   *
   * With a filter, the heartbeats of two streams may never have the same position. So a message
   * before the position of this tab will do: the tab then ignores the events up to its position. A
   * node has to prove that position, since one of a log that has ended is above all others.
   */
  function align(): void {
    if (!waiting || signal.aborted) return;
    const own = currentPosition();
    // A tab without a position begins where the leader is.
    let at = own === undefined ? waiting.length - 1 : waiting.findIndex((m) => m.position === own);
    if (at < 0 && stream?.status === 'live') {
      waiting.forEach((m, index) => isAtOrBefore(m.position, own) && (at = index));
    }
    const common = waiting[at];
    if (common) {
      passed = common.position === own ? undefined : own;
      const later = waiting.slice(at + 1);
      waiting = undefined;
      closeStream();
      follow({ ...common, item: undefined });
      later.forEach(onLeaderMessage);
    } else if (!stream && waiting.length && Date.now() >= catchUpAt) {
      openStream();
    }
  }

  /** Takes a message of the leader, apart from an event that this tab has. */
  function follow(message: LeaderMessage): void {
    const { denied, item, position: place } = message;
    const isReset = item && 'reset' in item;
    const isBehind = isAtOrBefore(place, passed);
    const isUnknown = passed && !isBehind && !isAtOrBefore(passed, place);
    if (isUnknown && item && !isReset) return catchUp(message);
    count = message.count;
    if (!isBehind && (item || !isUnknown)) {
      passed = undefined;
      position = place;
    }
    if (item && (isReset || !isBehind)) show(item);
    noteVersion(message.schemas);
    setStatus(message.status, denied && new DeniedError(denied.message, denied));
  }

  // === Beats ===

  function wait(run: () => void, ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(run, ms);
  }

  /** Notes that the leader, or a tab that replaces it, does its work. */
  function watch(): void {
    messageAt = Date.now();
    claim = 0;
    isAsked = false;
    if (!isLeader) wait(ask, BEAT_MS);
  }

  /** Asks the leader for a beat. Only timers are delayed in a hidden page, messages are not. */
  function ask(): void {
    send(Date.now() - messageAt > SLEEP_MS && !isHidden() ? 'wake' : 'ping');
    isAsked = true;
    wait(replaceLeader, BEAT_MS);
  }

  /** Handles a missed beat. */
  function replaceLeader(): void {
    claim = Math.random();
    send({ claim });
    wait(() => {
      watch();
      queue(true);
    }, CLAIM_MS);
  }

  function onMessage({ data }: MessageEvent<FollowerMessage | LeaderMessage>): void {
    if (typeof data === 'object' && 'term' in data) return onLeaderMessage(data);
    if (isLeader) {
      if (data === 'wake') stream!.wake();
      else stream!.tick();
      return broadcast();
    }
    if (typeof data === 'object') {
      if (!claim || data.claim < claim) watch();
    } else if (!isAsked) {
      // The beat for another tab is one for this tab too.
      isAsked = true;
      wait(replaceLeader, BEAT_MS + 100 * Math.random());
    }
  }

  // === Page ===

  function join(): void {
    if (channel || isLeader) return;
    channel = openChannel(name);
    if (!channel || !globalThis.navigator?.locks) return leadAlone();
    channel.onmessage = onMessage;
    waiting = [];
    catchUpAt = 0;
    watch();
    ask();
    queue();
  }

  function leave(): void {
    clearTimeout(timer);
    isLeader = false;
    waiting = undefined;
    closeStream();
    turn?.abort();
    turn = undefined;
    channel?.close();
    channel = undefined;
  }

  function onPageEvent({ type }: Event): void {
    if (type === 'pagehide' || type === 'freeze') {
      leave();
      setStatus('away');
    } else if (type !== 'visibilitychange') {
      join();
    } else if (!isLeader && !isHidden()) {
      send('wake');
    }
  }

  for (const type of ['pagehide', 'pageshow', 'freeze', 'resume', 'visibilitychange']) {
    // `freeze` and `resume` do not bubble.
    globalThis.addEventListener?.(type, onPageEvent, { signal, capture: true });
  }
  const end = (user: string) => user === options.user && setStatus('closed');
  const logout = openChannel(LOGOUT);
  if (logout) logout.onmessage = ({ data }) => end(data);
  logouts.add(end);
  signal.addEventListener('abort', () => {
    logouts.delete(end);
    logout?.close();
  });
  join();

  return {
    get status() {
      return status;
    },
    get position() {
      return currentPosition();
    },
    get error() {
      return error;
    },
    close: () => setStatus('closed'),
  };
}
