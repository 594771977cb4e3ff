/** Publishes events from a backend. `createPublisher` returns a publisher over Redis or HTTP. */
export type { Attempts } from './attempts.js';
export type { Token } from './http-transport.js';
export { PublishError, type PublishFailure } from './publish-error.js';
export {
  createPublisher,
  type HttpPublisherOptions,
  type Publisher,
  type PublishOptions,
  type RedisPublisher,
  type RedisPublisherOptions,
} from './publisher.js';
export type { IoredisClient, NodeRedisClient, RedisClient } from './redis-client.js';
export type { RedisSettings, Retention } from './redis-transport.js';
