// Types of publishers as a backend uses them. tsc checks this file, nothing runs it.
import {
  createPublisher,
  PublishError,
  type Publisher,
  type RedisClient,
  type RedisPublisher,
} from 'tidings/server';

type AppEvent =
  | { type: 'CHANNEL_UPDATED'; channelId: string; name: string }
  | { type: 'CHANNEL_DELETED'; channelId: string };

declare const redis: RedisClient;

const overRedis = createPublisher<AppEvent>({ redis, channelPrefix: 'app:', retention: { events: 10 } });
const overHttp = createPublisher<AppEvent>({ url: 'http://127.0.0.1:8080/api', token: async () => 'x' });
overRedis satisfies RedisPublisher<AppEvent>;
overHttp satisfies Publisher<AppEvent>;

const event: AppEvent = { type: 'CHANNEL_UPDATED', channelId: 'c1', name: 'general' };
(await overHttp.publish('acme', event, { to: ['ann'], idempotencyKey: 'k' })) satisfies string;
(await overHttp.publishPayload('acme', '{}')) satisfies string;
(await overHttp.publishBatch('acme', [event, event])) satisfies string[];
(await overRedis.publishLive('acme', event)) satisfies number;

// @ts-expect-error the field has another name
await overHttp.publish('acme', { type: 'CHANNEL_UPDATED', channelId: 'c1', title: 'general' });
// @ts-expect-error no event has this type
await overHttp.publish('acme', { type: 'CHANNEL_RENAMED' });
// @ts-expect-error an event is no text
await overHttp.publish('acme', JSON.stringify(event));
// @ts-expect-error live events need Redis
overHttp.publishLive;
// @ts-expect-error one of both
createPublisher({ redis, url: 'http://127.0.0.1:8080/api' });
// @ts-expect-error one of both
createPublisher({});

declare const error: unknown;
if (error instanceof PublishError) {
  error.isTemporary satisfies boolean;
  error.retryAfterMs satisfies number | undefined;
  error.idempotencyKey satisfies string | undefined;
}

await createPublisher({ redis }).publish('acme', { type: 'ANY', more: 1 });
