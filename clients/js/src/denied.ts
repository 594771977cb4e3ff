/** The parts of a denial beside its text. */
export interface DenialDetails {
  /** The end of the problem type, such as `forbidden`; docs/errors.md lists them. */
  reason?: string;
  /** The check that failed, such as `subscribe`; docs/errors.md lists them. */
  check?: string;
  /** The status of the response. */
  status?: number;
}

/**
 * Says why the broker refuses the stream for good. The text is safe to show.
 *
 * `auth` may throw one, for example when the session of the user has ended. The connection then
 * ends instead of asking again.
 */
export class DeniedError extends Error implements DenialDetails {
  declare readonly reason?: string;
  declare readonly check?: string;
  declare readonly status?: number;

  constructor(message: string, details?: DenialDetails) {
    super(message);
    this.name = 'DeniedError';
    Object.assign(this, details);
  }
}

/** Whether a response has a content type, whatever its parameters. */
export const hasType = ({ headers }: Response, type: string): boolean | undefined =>
  headers.get('content-type')?.startsWith(type);

/** What a response other than an event stream means. */
export interface Refusal {
  /** Set if the refusal is final: it is the broker's own, and a retry does not change it. */
  denied?: DeniedError;
  /** Whether the status is 401, from the broker or a proxy. */
  isUnauthorized?: boolean;
  /** The pause that the response asks for. */
  retryAfterMs?: number;
}

/**
 * Reads a response that is no event stream. It is final only with a problem document of the broker:
 * a proxy may return any status while it reaches no node.
 */
export async function readRefusal(response: Response): Promise<Refusal> {
  const { status, headers } = response;
  const refusal: Refusal = {
    isUnauthorized: status === 401,
    // A date is NaN, which asks for nothing.
    retryAfterMs: Number(headers.get('retry-after')) * 1000 || 0,
  };
  if (!hasType(response, 'application/problem+json')) return refusal;
  const { type, detail, check } = await response.json();
  const [, reason] = /^urn:tidings:problem:(.+)/.exec(type) ?? [];
  // 408 and 429 ask for a later request, as every 5xx does.
  if (reason && status < 500 && status !== 408 && status !== 429) {
    refusal.denied = new DeniedError(detail, { reason, check, status });
  }
  return refusal;
}
