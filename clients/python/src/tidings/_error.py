"""The error of a publication."""

from __future__ import annotations


class PublishError(Exception):
    """Says why an event is not published, or why that is unknown.

    After a temporary error the event may be published, since the reply may be lost. A repetition
    with `idempotency_key` publishes it once.

    reason: the end of the problem type, such as `event-too-large`; docs/errors.md lists them.
    is_temporary: whether the same publication may succeed later.
    status: the status of the response, if the broker or a proxy sent one.
    retry_after: the pause in seconds that the broker asks for.
    idempotency_key: that of the caller, or the one made for the call.
    """

    def __init__(
        self,
        message: str,
        reason: str,
        *,
        is_temporary: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.is_temporary = is_temporary
        self.status = status
        self.retry_after = retry_after
        self.idempotency_key: str | None = None


def temporary_error(message: str) -> PublishError:
    """Returns an error after which a repetition may succeed."""
    return PublishError(message, "unavailable", is_temporary=True)
