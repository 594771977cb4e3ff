/** Returns what the app has at a path. */
export async function getJson<T>(path: string): Promise<T> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} has failed with status ${response.status}`);
  return response.json();
}

/** Sends a change to the app. Returns the reason of a failure. */
export async function send(method: string, path: string, body?: unknown): Promise<string | undefined> {
  const response = await fetch(path, {
    method,
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json' },
    }),
  }).catch(() => undefined);
  if (!response) return 'The app does not respond. Please try again.';
  if (response.ok) return undefined;
  const { error } = await response.json().catch(() => ({}));
  return error ?? `The app has failed with status ${response.status}.`;
}
