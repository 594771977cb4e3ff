import type { AnyEvent, TypedEvent } from '../options.js';
import { withAttempts, type Attempts } from './attempts.js';
import { httpTransport, type Token } from './http-transport.js';
import { checkPublication, checkWorkspace, payloadOf, traceOf, type Publication } from './publication.js';
import { finalError, PublishError } from './publish-error.js';
import { commandsOf, type RedisClient } from './redis-client.js';
import { redisTransport, type RedisSettings } from './redis-transport.js';
import type { Transport } from './transport.js';

/** What a publication may state beside its event. */
export interface PublishOptions {
  /** The ids of the users that get the event: a private event. Without it, all users get it. */
  to?: readonly string[];
  /** Within five minutes, a further publication with this key publishes nothing. */
  idempotencyKey?: string;
  /** The trace of the event (W3C Trace Context). An invalid one counts as none. */
  traceparent?: string | undefined;
}

/** Publishes over a connected client of Redis. */
export interface RedisPublisherOptions extends RedisSettings, Attempts {
  redis: RedisClient;
  url?: undefined;
}

/** Publishes over HTTP. */
export interface HttpPublisherOptions extends Attempts {
  /** The address of the broker with its base path, such as `http://127.0.0.1:8080/api`. */
  url: string;
  /** A token whose `publish` claim names the workspaces, or a function that returns one. */
  token?: Token;
  redis?: undefined;
}

/** Publishes events durably: clients that are away get them later. */
export interface Publisher<E extends TypedEvent = AnyEvent> {
  /**
   * Publishes an event, and returns its id.
   *
   * @throws PublishError
   */
  publish(workspace: string, event: E, options?: PublishOptions): Promise<string>;

  /**
   * Publishes a text as it is, such as JSON that another program has made. Returns its id.
   *
   * @throws PublishError
   */
  publishPayload(workspace: string, payload: string, options?: PublishOptions): Promise<string>;

  /**
   * Publishes 1 to 1,000 events next to each other, all or none. Returns their ids in order.
   *
   * @throws PublishError
   */
  publishBatch(workspace: string, events: readonly E[], options?: PublishOptions): Promise<string[]>;
}

/** A publisher over Redis, which can publish live events too. */
export interface RedisPublisher<E extends TypedEvent = AnyEvent> extends Publisher<E> {
  /**
   * Publishes a live event, which is in no log: only clients that are connected get it. Returns the
   * number of nodes and other subscribers that Redis has passed it to, which may be 0.
   *
   * @throws PublishError
   */
  publishLive(workspace: string, event: E): Promise<number>;
}

/**
 * Returns a publisher of the events of an app, over Redis or HTTP.
 *
 * @throws TypeError if the client of Redis is unknown, or `url` is invalid.
 */
export function createPublisher<E extends TypedEvent = AnyEvent>(
  options: RedisPublisherOptions,
): RedisPublisher<E>;
export function createPublisher<E extends TypedEvent = AnyEvent>(
  options: HttpPublisherOptions,
): Publisher<E>;
export function createPublisher<E extends TypedEvent = AnyEvent>(
  options: RedisPublisherOptions | HttpPublisherOptions,
): Publisher<E> {
  if (!options.redis) {
    if (!options.url) throw new TypeError('a publisher needs `redis` or `url`');
    return durable<E>(httpTransport(options.url, options.token), options);
  }
  const transport = redisTransport(commandsOf(options.redis), options);
  const publishLive = async (workspace: string, event: E) => {
    checkWorkspace(workspace);
    const payload = payloadOf(event);
    // The repetition of a live event would be a second one.
    const once = { ...options, retries: false };
    return withAttempts(once, (signal) => transport.publishLive(workspace, payload, signal));
  };
  const publisher: RedisPublisher<E> = { ...durable<E>(transport, options), publishLive };
  return publisher;
}

function durable<E extends TypedEvent>(transport: Transport, attempts: Attempts): Publisher<E> {
  async function send(
    workspace: string,
    payloads: string[],
    isBatch: boolean,
    { to, idempotencyKey, traceparent: given }: PublishOptions = {},
  ): Promise<string[]> {
    const key = idempotencyKey ?? (attempts.retries === false ? undefined : crypto.randomUUID());
    const traceparent = traceOf(given);
    const publication: Publication = { workspace, payloads, isBatch, to, idempotencyKey: key, traceparent };
    checkPublication(publication);
    try {
      return await withAttempts(attempts, (signal) => transport.send(publication, signal));
    } catch (error) {
      if (error instanceof PublishError) error.idempotencyKey = key;
      throw error;
    }
  }

  const one = async (workspace: string, payload: string, options?: PublishOptions) => {
    if (typeof payload !== 'string') throw finalError('bad-event', 'a payload is a text');
    return (await send(workspace, [payload], false, options))[0]!;
  };
  return {
    publish: async (workspace, event, options) => one(workspace, payloadOf(event), options),
    publishPayload: one,
    publishBatch: async (workspace, events, options) =>
      send(workspace, events.map(payloadOf), true, options),
  };
}
