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

/** What a response other than an event stream means. */
export interface Refusal {
  /** Set if the refusal is final: it is the broker's own, and a retry does not change it. */
  denied?: DeniedError;
  /** Whether the status is 401, from the broker or a proxy. */
  isUnauthorized?: boolean;
  /** The status and the type of a response that is neither the broker's nor temporary. */
  foreign?: string;
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
    retryAfterMs: (headers.get('retry-after') as any) * 1000 || 0,
  };
  // 408 and 429 ask for a later request, as every 5xx does.
  if (/^5|408|429/.test(status as any)) return refusal;
  const contentType = headers.get('content-type');
  refusal.foreign = `${status} ${contentType}`;
  if (contentType?.startsWith('application/problem+json')) {
    const { type, detail, check } = await response.json();
    const [, reason] = /^urn:tidings:problem:(.+)/.exec(type) ?? [];
    if (reason) refusal.denied = new DeniedError(detail, { reason, check, status });
  }
  return refusal;
}
