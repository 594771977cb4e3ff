/** The app's side of tickets: a route handler for Next.js, and for all that has `Request`. */
import { DeniedError, readRefusal } from '../denied.js';
import { problem } from './problem.js';
import { isSameOrigin } from './same-origin.js';
import { signToken, type Algorithm } from './user-token.js';

export { DeniedError } from '../denied.js';
export type { Algorithm } from './user-token.js';

/** The longest wait for the ticket of the broker. */
const TICKET_MS = 5_000;

/** A user that may read the workspace. */
export interface TicketUser {
  /** The id of the user, 1 to 256 bytes; `to` of private events names it. */
  user: string;
  /** The end of the session: milliseconds since 1970, a date, or its text in ISO 8601. */
  expiresAt?: number | string | Date | undefined;
}

/** What a route needs to issue tickets. */
export interface TicketRouteOptions {
  /** The address of the broker for the app, with its base path. */
  url: string;
  /** `auth.jwt.secret` of the broker. */
  secret: string | undefined;
  /**
   * Returns the user of the request, or null without a session. It throws a `DeniedError` with a
   * text for a user without the right to read this workspace.
   */
  authorize(request: Request, workspace: string): TicketUser | null | Promise<TicketUser | null>;
  /** `auth.jwt.algorithm` of the broker, `HS256` by default. */
  algorithm?: Algorithm;
  /** The longest life of a stream in seconds, 900 by default. The page then asks again. */
  lifetimeSeconds?: number;
  /** Further claims, such as `iss` and `aud`. */
  claims?: Record<string, unknown>;
}

/**
 * Returns a handler of `POST` requests. It exchanges the session of a user for a ticket, with which
 * the page opens a stream of the broker itself. `ticketAuth` of `tidings/ticket` requests it.
 *
 * The stream ends with the session, or after `lifetimeSeconds`. The page has another ticket before,
 * so that the app decides again. A ticket of the last two seconds of a session opens a stream that
 * ends up to `auth.jwt.leeway_seconds` of the broker later.
 */
export function ticketRoute(options: TicketRouteOptions): (request: Request) => Promise<Response> {
  return async (request) => {
    if (!isSameOrigin(request)) {
      return problem(403, 'origin-not-allowed', 'the request comes from a page of another site');
    }
    const workspace = await readWorkspace(request);
    if (workspace === undefined) {
      return problem(400, 'bad-ticket-request', 'the body is {"workspace":"acme"}, with a workspace id');
    }
    try {
      const found = await options.authorize(request, workspace);
      const now = Date.now();
      const sessionEnd = found?.expiresAt === undefined ? Infinity : toTime(found.expiresAt);
      if (!found || sessionEnd <= now) {
        return problem(401, 'unauthenticated', 'you are not signed in, or your session has ended', {
          check: 'credentials',
        });
      }
      const end = Math.min(sessionEnd, now + (options.lifetimeSeconds ?? 900) * 1000);
      return await requestTicket(options, found.user, workspace, Math.floor(end / 1000));
    } catch (error) {
      if (!(error instanceof DeniedError)) throw error;
      return problem(error.status ?? 403, error.reason ?? 'forbidden', error.message, {
        check: error.check ?? 'app',
      });
    }
  };
}

/** Returns the workspace of a request. A pattern such as `*` is none. */
async function readWorkspace(request: Request): Promise<string | undefined> {
  // `authorize` gets the request with its body.
  const body = await request.clone().json().catch(() => undefined);
  const workspace: unknown = body?.workspace;
  return typeof workspace === 'string' && /^[\w.~-]{1,128}$/.test(workspace) ? workspace : undefined;
}

function toTime(time: number | string | Date): number {
  const milliseconds = new Date(time).getTime();
  if (Number.isNaN(milliseconds)) throw new TypeError(`\`expiresAt\` is no time: ${time}`);
  return milliseconds;
}

/** Exchanges a token for a ticket. `end` is the end of the stream in seconds since 1970. */
async function requestTicket(
  { url, secret = '', algorithm = 'HS256', claims }: TicketRouteOptions,
  user: string,
  workspace: string,
  end: number,
): Promise<Response> {
  const token = await signToken(secret, algorithm, { ...claims, sub: user, workspaces: [workspace], exp: end });
  let response: Response;
  try {
    response = await fetch(`${url.replace(/\/$/, '')}/tickets`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ workspace }),
      redirect: 'manual',
      signal: AbortSignal.timeout(TICKET_MS),
      cache: 'no-store',
    });
  } catch (error) {
    console.error('tidings: the broker issues no ticket:', error);
    return problem(503, 'unavailable', 'the broker is not reachable for the app', { retryAfter: '1' });
  }
  if (response.status === 201) {
    const { ticket } = await response.json();
    const credentials = { ticket, expiresAt: end * 1000, now: Date.now() };
    return Response.json(credentials, { headers: { 'Cache-Control': 'no-store' } });
  }
  return passOn(response);
}

/** A refusal of the broker for the page. */
async function passOn(response: Response): Promise<Response> {
  const { status } = response;
  const retryAfter = response.headers.get('retry-after') ?? undefined;
  const { denied } = await readRefusal(response);
  // The broker refuses the token of the app, which no page can change.
  if (status === 401 || !(denied || status >= 500 || status === 429)) {
    throw new Error(`the broker refuses the token of the app with status ${status}: ${denied?.message}`);
  }
  if (denied) {
    const { reason = 'forbidden', message, check } = denied;
    return problem(status, reason, message, check ? { check } : {});
  }
  return problem(status, status === 429 ? 'rate-limited' : 'unavailable', 'the broker issues no ticket now', {
    retryAfter: retryAfter ?? '1',
  });
}
