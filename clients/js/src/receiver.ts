import type { ConnectOptions, TypedEvent } from './options.js';

/** Returns the options of a connection whose events of some types, or all, reach one function. */
export function receiverOf<E extends TypedEvent>(
  types: readonly E['type'][] | undefined,
  receive: (event: E, id: string) => void,
): Pick<ConnectOptions<E>, 'events' | 'onEvent'> {
  if (!types) return { onEvent: receive };
  const events = Object.fromEntries(types.map((type) => [type, receive]));
  return { events: events as { [T in E['type']]?: (event: any, id: string) => void } };
}
