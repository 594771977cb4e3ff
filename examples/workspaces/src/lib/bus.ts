import Redis from 'ioredis';

// #region outbox
/** The bus of the broker, which speaks the protocol of Redis. */
export const bus = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6380', { lazyConnect: true });
bus.on('error', (error) => console.warn(`the bus is away: ${error.message}`));
// #endregion
