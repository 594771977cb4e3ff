"""Publishes after a transaction of Django."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from ._publication import Event
from ._sync import Publisher


def publish_on_commit(
    publisher: Publisher,
    workspace: str,
    event: Event,
    *,
    to: Sequence[str] | None = None,
    idempotency_key: str | None = None,
    traceparent: str | None = None,
    using: str | None = None,
    robust: bool = False,
) -> None:
    """Publishes an event once the transaction commits, and not at all if it rolls back.

    An invalid event raises `PublishError` at once, so the transaction can still roll back. Without
    a transaction the event is published at once. `using` names the database. With `robust`, Django
    logs an error of the publication; otherwise the view gets it, after the commit.
    """
    publish = publisher.prepare(
        workspace, event, to=to, idempotency_key=idempotency_key, traceparent=traceparent
    )
    transaction.on_commit(publish, using=using, robust=robust)
