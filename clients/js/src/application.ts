import type { ConnectOptions, TypedEvent } from './options.js';

/** Calls a function of the application. Its exception is reported as one of an event listener. */
export function call(run: () => void): void {
  try {
    run();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

/** Returns the value of a JSON text, or an empty object if it is none or null. */
export function parseJson(text: string): any {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** Passes the payload of an event to the function of the application that is for its type. */
export function deliver<E extends TypedEvent>(
  { events, onEvent, onPayload }: ConnectOptions<E>,
  payload: string,
  id: string,
): void {
  const event = parseJson(payload);
  const type: E['type'] | undefined = event.type;
  if (typeof type !== 'string') return call(() => onPayload?.(payload, id));
  // A type may have the name of a member that all objects have.
  const handler = events && Object.hasOwn(events, type) ? events[type] : onEvent;
  call(() => handler?.(event, id));
}

/** Returns a function that takes the version of the broker's schemas, and reports another one. */
export function watchVersion<E extends TypedEvent>({ schemas, onOutdated }: ConnectOptions<E>) {
  let last = schemas;
  return (version?: string): void => {
    if (!version || version === last) return;
    last = version;
    if (version !== schemas) call(() => onOutdated?.(version));
  };
}
