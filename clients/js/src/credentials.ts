/**
 * A token, or a ticket that opens one stream. `expiresAt` is the end of the stream in milliseconds
 * since 1970. A JWT names it itself (`exp`).
 */
export type Credentials =
  | { token: string; ticket?: undefined; expiresAt?: number }
  | { ticket: string; token?: undefined; expiresAt?: number };

/** Returns credentials. A string is a token. */
export type Auth = () => string | Credentials | Promise<string | Credentials>;

/** The client renews this long before the end, or earlier for short lives. */
const MARGIN_MS = 30_000;
/** A shorter rest says that the clocks differ: the node decides about the end then. */
const REST_MIN_MS = 5_000;

/** Returns the time at which to renew credentials, in milliseconds since 1970. */
export function renewalTime({ token, expiresAt }: Credentials, now: number): number {
  const end = expiresAt ?? jwtEnd(token);
  const rest = end - now;
  return rest > REST_MIN_MS ? end - Math.min(MARGIN_MS, rest / 3) : Infinity;
}

/** Returns the `exp` of a JWT in milliseconds, or NaN if there is none. */
function jwtEnd(token?: string): number {
  try {
    const claims = token!.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
    return JSON.parse(atob(claims)).exp * 1000;
  } catch {
    return NaN;
  }
}
