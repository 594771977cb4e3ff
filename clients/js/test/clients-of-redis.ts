// The clients of Redis that a publisher takes, by their own types. tsc checks this file.
import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis-5';
import { createClient } from 'redis';
import { createClient as createClient4 } from 'redis-4';
import { createClient as createClient5 } from 'redis-5';
import { createPublisher } from 'tidings/server';

createPublisher({ redis: new Redis() });
createPublisher({ redis: new Redis5() });
createPublisher({ redis: createClient() });
createPublisher({ redis: createClient5() });
createPublisher({ redis: createClient4() });
// @ts-expect-error a server is no client
createPublisher({ redis: 'redis://127.0.0.1' });
