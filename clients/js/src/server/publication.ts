import { finalError } from './publish-error.js';

/** Events that are published together, with everything that a transport needs. */
export interface Publication {
  workspace: string;
  /** The payloads, in order. Those of a batch have no line ends. */
  payloads: string[];
  isBatch: boolean;
  /** The users that get the events; all users without it. */
  to: readonly string[] | undefined;
  idempotencyKey: string | undefined;
  /** The trace of the events, of version 00. */
  traceparent: string | undefined;
}

export const EVENTS_MAX = 1000;
const USERS_MAX = 1000;
const USER_BYTES_MAX = 256;

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

/** Half of a surrogate pair, which UTF-8 cannot hold. */
const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;
/** The same as an escape of JSON. `JSON.stringify` escapes no other surrogate. */
const ESCAPED_SURROGATE = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

/** Returns the payload of an event, its JSON. */
export function payloadOf(event: unknown): string {
  const { type } = (event ?? {}) as { type?: unknown };
  if (typeof event !== 'object' || typeof type !== 'string') {
    throw finalError('bad-event', 'an event is an object with a `type`; `publishPayload` takes a text');
  }
  let payload: string;
  try {
    payload = JSON.stringify(event);
  } catch (error) {
    throw finalError('bad-event', `the event cannot become JSON: ${(error as Error).message}`, error);
  }
  if (ESCAPED_SURROGATE.test(payload)) throw notUnicode('the event');
  return payload;
}

const notUnicode = (name: string) =>
  finalError('not-utf8', `${name} has half of a surrogate pair, which UTF-8 cannot hold`);

/**
 * Returns a `traceparent` in the form of version 00, as the standard reads later versions. An
 * invalid one counts as none, since any request may have brought it.
 */
export function traceOf(traceparent: string | undefined): string | undefined {
  const [, version, rest, later] =
    /^([\da-f]{2})-([\da-f]{32}-[\da-f]{16}-[\da-f]{2})(-.*)?$/s.exec(traceparent ?? '') ?? [];
  const isValid = rest && version !== 'ff' && !(version === '00' && later);
  return isValid ? `00-${rest}` : undefined;
}

/** Refuses what is invalid for every node, before it is sent. */
export function checkPublication({ workspace, payloads, isBatch, to, idempotencyKey }: Publication): void {
  checkWorkspace(workspace);
  if (isBatch && (payloads.length === 0 || payloads.length > EVENTS_MAX)) {
    const reason = payloads.length === 0 ? 'empty-event' : 'batch-too-large';
    throw finalError(reason, `a batch has 1 to ${EVENTS_MAX} events, not ${payloads.length}`);
  }
  for (const payload of payloads) {
    if (payload === '') throw finalError('empty-event', 'the payload is empty');
    if (LONE_SURROGATE.test(payload)) throw notUnicode('the payload');
  }
  if (to) checkAudience(to);
  if (idempotencyKey !== undefined && !/^[!-~]{1,128}$/.test(idempotencyKey)) {
    throw finalError('bad-idempotency-key', 'an idempotency key is 1 to 128 visible ASCII characters');
  }
}

export function checkWorkspace(workspace: string): void {
  if (!/^[\w.~-]{1,128}$/.test(workspace)) {
    throw finalError(
      'bad-workspace',
      `a workspace id is 1 to 128 characters of A-Z a-z 0-9 . _ ~ -, not ${JSON.stringify(workspace)}`,
    );
  }
}

function checkAudience(to: readonly string[]): void {
  const isUser = (user: unknown) =>
    typeof user === 'string' &&
    user !== '' &&
    bytesOf(user) <= USER_BYTES_MAX &&
    !/[\0-\x1f\x7f-\x9f]/.test(user) &&
    !LONE_SURROGATE.test(user);
  if (!Array.isArray(to) || to.length < 1 || to.length > USERS_MAX || !to.every(isUser)) {
    throw finalError(
      'bad-envelope',
      `\`to\` is a list of 1 to ${USERS_MAX} user ids, each of 1 to ${USER_BYTES_MAX} bytes without control characters`,
    );
  }
}

/** Refuses a payload that nodes would drop: no node can refuse a publication over Redis. */
export function checkSize(payload: string, bytesMax: number): void {
  const bytes = bytesOf(payload);
  if (bytes > bytesMax) {
    throw finalError('event-too-large', `the payload has ${bytes} bytes, and at most ${bytesMax} are possible`);
  }
}
