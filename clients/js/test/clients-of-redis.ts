// The clients of Redis that a publisher takes, by their own types. tsc checks this file.
import { Cluster, Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis-5';
import { createClient, createCluster } from 'redis';
import { createClient as createClient4, createCluster as createCluster4 } from 'redis-4';
import { createClient as createClient5, createCluster as createCluster5 } from 'redis-5';
import { createPublisher } from 'tidings/server';

createPublisher({ redis: new Redis() });
createPublisher({ redis: new Cluster([]) });
createPublisher({ redis: new Redis5() });
createPublisher({ redis: createClient() });
createPublisher({ redis: createCluster({ rootNodes: [] }) });
createPublisher({ redis: createClient5() });
createPublisher({ redis: createCluster5({ rootNodes: [] }) });
createPublisher({ redis: createClient4() });
createPublisher({ redis: createCluster4({ rootNodes: [] }) });
// @ts-expect-error a server is no client
createPublisher({ redis: 'redis://127.0.0.1' });
