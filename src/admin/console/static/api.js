// Requests to the API of the console. Problems (RFC 9457) become errors with their detail.

export class ConsoleError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ConsoleError(0, "The node does not answer. It may have stopped.");
  }
  if (response.ok) return response.status === 200 ? response.json() : null;
  const problem = await response.json().catch(() => ({}));
  throw new ConsoleError(response.status, problem.detail ?? `The node answered ${response.status}.`);
}

export const get = (path, signal) => call(path, { signal });

export const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: typeof body === "string" ? body : JSON.stringify(body) });

export const remove = (path) => call(path, { method: "DELETE" });

/** The path of a workspace. A browser takes the segments `.` and `..` out of a path, but not `=.`. */
export const workspacePath = (id) => `/api/console/workspaces/=${encodeURIComponent(id)}`;

/**
 * Calls `work` now and then again, `milliseconds` after each end, while the page is visible.
 * Returns a function that ends it.
 */
export function repeat(milliseconds, work) {
  const stop = new AbortController();
  let timer;
  let running = false;
  const turn = async () => {
    if (running || document.hidden || stop.signal.aborted) return;
    running = true;
    await work(stop.signal);
    running = false;
    if (!stop.signal.aborted) timer = setTimeout(turn, milliseconds);
  };
  document.addEventListener(
    "visibilitychange",
    () => {
      clearTimeout(timer);
      turn();
    },
    { signal: stop.signal },
  );
  turn();
  return () => {
    clearTimeout(timer);
    stop.abort();
  };
}
