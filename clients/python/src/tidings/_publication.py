"""Events that are published together, and the rules that hold for every node."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._error import PublishError

EVENTS_MAX = 1000
USERS_MAX = 1000
USER_BYTES_MAX = 256

Event = Mapping[str, object]


@dataclass(frozen=True)
class Publication:
    """What a transport needs. The payloads of a batch have no line ends."""

    workspace: str
    payloads: tuple[bytes, ...]
    is_batch: bool
    to: tuple[str, ...] | None
    idempotency_key: str | None
    traceparent: str | None

    def __post_init__(self) -> None:
        """Refuses what is invalid, before it is sent."""
        check_workspace(self.workspace)
        if self.is_batch and not 1 <= len(self.payloads) <= EVENTS_MAX:
            reason = "batch-too-large" if self.payloads else "empty-event"
            raise PublishError(
                f"a batch has 1 to {EVENTS_MAX} events, not {len(self.payloads)}", reason
            )
        if b"" in self.payloads:
            raise PublishError("the payload is empty", "empty-event")
        if self.to is not None:
            _check_audience(self.to)
        key = self.idempotency_key
        if key is not None and not re.fullmatch(r"[!-~]{1,128}", key):
            raise PublishError(
                "an idempotency key is 1 to 128 visible ASCII characters", "bad-idempotency-key"
            )


def payload_of(event: Event) -> bytes:
    """Returns the payload of an event, its JSON."""
    if not isinstance(event, Mapping) or not isinstance(event.get("type"), str):
        raise PublishError(
            "an event is a mapping with a `type`; `publish_payload` takes a text", "bad-event"
        )
    try:
        text = json.dumps(dict(event), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise PublishError(f"the event cannot become JSON: {error}", "bad-event") from error
    return encode(text)


def encode(text: str) -> bytes:
    """Returns the UTF-8 of a payload."""
    if not isinstance(text, str):
        raise PublishError("a payload is a str", "bad-event")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PublishError(
            "the payload has half of a surrogate pair, which UTF-8 cannot hold", "not-utf8"
        ) from error


def check_workspace(workspace: str) -> None:
    """Refuses an invalid workspace id."""
    if not isinstance(workspace, str) or not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", workspace):
        raise PublishError(
            f"a workspace id is 1 to 128 characters of A-Z a-z 0-9 . _ ~ -, not {workspace!r}",
            "bad-workspace",
        )


def check_size(payload: bytes, bytes_max: int) -> None:
    """Refuses a payload that nodes would drop: no node can refuse a publication over Redis."""
    if len(payload) > bytes_max:
        raise PublishError(
            f"the payload has {len(payload)} bytes, and at most {bytes_max} are possible",
            "event-too-large",
        )


def audience_of(to: Sequence[str] | None) -> tuple[str, ...] | None:
    """Returns the audience. A text is a sequence of texts too, but no list of user ids."""
    if isinstance(to, str):
        raise PublishError("`to` is a list of user ids, not one", "bad-envelope")
    return None if to is None else tuple(to)


def trace_of(traceparent: str | None) -> str | None:
    """Returns a `traceparent` in the form of version 00, as the standard reads later versions.

    An invalid one counts as none, since any request may have brought it.
    """
    if not isinstance(traceparent, str):
        return None
    known = re.fullmatch(
        r"([0-9a-f]{2})-([0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(-.*)?", traceparent, re.DOTALL
    )
    if known is None or known[1] == "ff" or (known[1] == "00" and known[3]):
        return None
    return f"00-{known[2]}"


def _is_user(user: object) -> bool:
    if not isinstance(user, str) or re.search(r"[\x00-\x1f\x7f-\x9f]", user):
        return False
    try:
        return 1 <= len(user.encode()) <= USER_BYTES_MAX
    except UnicodeEncodeError:
        return False


def _check_audience(to: tuple[str, ...]) -> None:
    if not 1 <= len(to) <= USERS_MAX or not all(map(_is_user, to)):
        raise PublishError(
            f"`to` has 1 to {USERS_MAX} user ids, each of 1 to {USER_BYTES_MAX} bytes "
            "without control characters",
            "bad-envelope",
        )
