import { checkSize, type Publication } from './publication.js';
import { finalError, temporaryError } from './publish-error.js';
import { PUBLISH_SCRIPT, PUBLISH_SCRIPT_HASH } from './publish-script.js';
import type { SendCommand } from './redis-client.js';
import type { Transport } from './transport.js';

/** How much a log keeps. Without a value, the publish script has its default. */
export interface Retention {
  /** The number of events, approximately (1,000). */
  events?: number;
  /** The time in seconds (86,400). */
  seconds?: number;
  /** The bytes of payload (16,777,216). */
  bytes?: number;
}

/** How events are published over Redis. */
export interface RedisSettings {
  /** `redis.channel_prefix` of the nodes, `workspace:` by default. */
  channelPrefix?: string;
  /** `limits.event_bytes` of the nodes, 262,144 by default. Nodes drop larger events. */
  eventBytes?: number;
  retention?: Retention;
}

/** A server without functions, or one on which no node has loaded this one. */
const HAS_NO_FUNCTION = /unknown command|function not found|^NOPERM.*fcall/i;
/** Codes of errors that pass. Redis 6.2 has them within the text, after the place in the script. */
const TEMPORARY = /(?:^|[ :-])(LOADING|BUSY|OOM|MISCONF|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS) /;
/** A reply of the server begins with a code. Errors of a connection do not. */
const IS_REPLY = /^[A-Z]{2,} /;

/** Publishes by the function `tidings_publish`, or by its script on servers without it. */
export function redisTransport(send: SendCommand, settings: RedisSettings) {
  const { channelPrefix = 'workspace:', eventBytes = 262_144, retention = {} } = settings;
  let hasFunction = true;

  async function publish(publication: Publication, signal: AbortSignal): Promise<string[]> {
    const { workspace, payloads, to, idempotencyKey = '', traceparent } = publication;
    for (const payload of payloads) checkSize(payload, eventBytes);
    const [first, ...others] = payloads;
    const { events = '', seconds = '', bytes = '' } = retention;
    const audience = traceparent ? { traceparent, to } : to;
    const json = audience ? JSON.stringify(audience) : '';
    const args = [first!, `${events}`, `${seconds}`, idempotencyKey, `${bytes}`, json, ...others];
    const channel = channelPrefix + workspace;
    const reply = await within(signal, run(channel, idempotencyKey, args));
    return Array.isArray(reply) ? reply.map(String) : [String(reply)];
  }

  async function run(channel: string, key: string, args: string[]): Promise<unknown> {
    if (hasFunction) {
      try {
        return await send('FCALL', 'tidings_publish', '1', channel, ...args);
      } catch (error) {
        if (!HAS_NO_FUNCTION.test((error as Error).message)) throw error;
        hasFunction = false;
      }
    }
    // Some servers need to know every key of a script beforehand.
    const keys = [channel, `{${channel}}/epoch`, ...(key ? [`{${channel}}/once/${key}`] : [])];
    const call = [`${keys.length}`, ...keys, ...args];
    try {
      return await send('EVALSHA', PUBLISH_SCRIPT_HASH, ...call);
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
      return send('EVAL', PUBLISH_SCRIPT, ...call);
    }
  }

  async function publishLive(workspace: string, payload: string, signal: AbortSignal): Promise<number> {
    checkSize(payload, eventBytes);
    return Number(await within(signal, send('PUBLISH', channelPrefix + workspace, payload)));
  }

  return { send: publish, publishLive } satisfies Transport & Record<string, unknown>;
}

/** Waits for a reply until the signal. The command itself may still run later. */
async function within(signal: AbortSignal, reply: Promise<unknown>): Promise<unknown> {
  const timeout = new Promise<never>((_, reject) => {
    const onAbort = () => reject(temporaryError('Redis has not replied in time'));
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([reply, timeout]);
  } catch (error) {
    throw publishError(error as Error);
  }
}

function publishError(error: Error): Error {
  const { name, message } = error;
  if (name === 'PublishError') return error;
  if (TEMPORARY.test(message)) return temporaryError(`Redis rejects the publication for now: ${message}`, error);
  if (!IS_REPLY.test(message)) return temporaryError(`Redis is not reachable: ${message}`, error);
  return finalError('refused-by-bus', `Redis rejects the publication: ${message}`, error);
}
