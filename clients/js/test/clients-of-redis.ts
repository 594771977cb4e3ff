// The clients of Redis that a publisher takes, by their own types. tsc checks this file.
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { createPublisher } from 'tidings/server';

createPublisher({ redis: new Redis() });
createPublisher({ redis: createClient() });
// @ts-expect-error a server is no client
createPublisher({ redis: 'redis://127.0.0.1' });
