/** The part of a client of `ioredis` that a publisher uses. */
export interface IoredisClient {
  call(command: string, ...args: string[]): Promise<unknown>;
}

/** The part of a client of `redis` (node-redis 4 or later) that a publisher uses. */
export interface NodeRedisClient {
  sendCommand(args: string[]): Promise<unknown>;
}

/** The part of a cluster client of `redis` that a publisher uses. */
export interface NodeRedisCluster {
  readonly masters: readonly unknown[];
  sendCommand(firstKey: string, isReadonly: boolean, args: string[]): Promise<unknown>;
}

/** A connected client of Redis. */
export type RedisClient = IoredisClient | NodeRedisClient | NodeRedisCluster;

/** Sends one command, and returns its reply. */
export type SendCommand = (command: string, ...args: string[]) => Promise<unknown>;

/**
 * Returns the way to send a command with this client.
 *
 * @throws TypeError if it is no client of `ioredis` or `redis`, or one that adds a prefix to keys.
 */
export function commandsOf(client: RedisClient): SendCommand {
  const { options } = client as { options?: { keyPrefix?: string } };
  if (options?.keyPrefix) {
    throw new TypeError(
      `the client adds ${JSON.stringify(options.keyPrefix)} to each key, but not to channels: use one without \`keyPrefix\``,
    );
  }
  if (typeof (client as IoredisClient).call === 'function') {
    return (command, ...args) => (client as IoredisClient).call(command, ...args);
  }
  if (typeof (client as NodeRedisClient).sendCommand === 'function' && 'isOpen' in client) {
    if ('masters' in client) {
      // The channel leads to its server. It is first, or follows a script and a count of keys.
      return (...args) => client.sendCommand(args[0] === 'PUBLISH' ? args[1]! : args[3]!, false, args);
    }
    return (...args) => (client as NodeRedisClient).sendCommand(args);
  }
  throw new TypeError('`redis` is a client of ioredis, or of redis (node-redis) 4 or later');
}
