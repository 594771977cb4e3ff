// The events of the example in the log of a broker.
import { createRequire } from 'node:module';

const { Redis } = createRequire(import.meta.url)('ioredis');

/** Returns the events in the log of the workspace, in order. */
export async function logOf(site, workspaceId = 'acme') {
  const redis = new Redis(site.redisUrl);
  try {
    const entries = await redis.xrange(`workspace:${workspaceId}`, '-', '+');
    return entries.map(([, fields]) => JSON.parse(fields[fields.indexOf('data') + 1]));
  } finally {
    redis.disconnect();
  }
}
