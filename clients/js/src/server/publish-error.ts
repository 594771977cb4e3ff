/** The parts of a failed publication beside its text. */
export interface PublishFailure {
  /** The end of the problem type, such as `event-too-large`; docs/errors.md lists them. */
  reason: string;
  /** Whether the same publication may succeed later. */
  isTemporary: boolean;
  /** The status of the response, if the broker or a proxy sent one. */
  status?: number;
  /** The pause that the broker asks for. */
  retryAfterMs?: number;
  /** The cause, such as an error of the network. */
  cause?: unknown;
}

/**
 * Says why an event is not published, or why that is unknown.
 *
 * After a temporary error the event may be published, since the reply may be lost. A repetition
 * with `idempotencyKey` publishes it once.
 */
export class PublishError extends Error {
  readonly reason: string;
  readonly isTemporary: boolean;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  /** The idempotency key of the publication: that of the caller, or the one made for the call. */
  idempotencyKey: string | undefined;

  constructor(message: string, failure: PublishFailure) {
    super(message, { cause: failure.cause });
    this.name = 'PublishError';
    this.reason = failure.reason;
    this.isTemporary = failure.isTemporary;
    this.status = failure.status;
    this.retryAfterMs = failure.retryAfterMs;
  }
}

/** An error that no repetition changes. */
export function finalError(reason: string, message: string, cause?: unknown): PublishError {
  return new PublishError(message, { reason, isTemporary: false, cause });
}

/** An error after which a repetition may succeed. */
export function temporaryError(message: string, cause?: unknown): PublishError {
  return new PublishError(message, { reason: 'unavailable', isTemporary: true, cause });
}
