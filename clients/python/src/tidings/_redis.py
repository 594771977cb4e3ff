"""Publishing by the function `tidings_publish`, or by its script on servers without it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ._error import PublishError, temporary_error
from ._publication import Publication, check_size

# A server without functions, or one on which no node has loaded this one.
_HAS_NO_FUNCTION = re.compile(r"unknown command|function not found|'fcall'", re.IGNORECASE)
# Errors that pass: the classes of redis-py, and codes that it leaves in the text.
_TEMPORARY = {
    "BusyLoadingError",
    "ClusterDownError",
    "MasterDownError",
    "OutOfMemoryError",
    "ReadOnlyError",
    "TryAgainError",
}
_TEMPORARY_CODE = re.compile(
    r"\b(LOADING|BUSY|OOM|MISCONF|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS) "
)
_FINAL = {"ResponseError", "AuthenticationError", "AuthorizationError", "DataError"}

Command = tuple[Any, ...]


def publish_script() -> str:
    """Returns the text of the publish script."""
    return files("tidings").joinpath("publish.lua").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Retention:
    """How much a log keeps. Without a value, the publish script has its default."""

    events: int | None = None
    seconds: int | None = None
    payload_bytes: int | None = None


class RedisCommands:
    """The commands of a publication. It sends nothing itself, so threads and asyncio share it."""

    def __init__(self, channel_prefix: str, event_bytes: int, retention: Retention) -> None:
        self._prefix = channel_prefix
        self._event_bytes = event_bytes
        self._retention = retention
        self._has_function = True
        self._script = publish_script()
        self._hash = hashlib.sha1(self._script.encode()).hexdigest()

    def check(self, publication: Publication) -> None:
        """Refuses payloads that nodes would drop."""
        for payload in publication.payloads:
            check_size(payload, self._event_bytes)

    def publish(self, publication: Publication) -> Generator[Command, Any, list[str]]:
        """Yields commands, is sent their replies or exceptions, and returns the ids in order."""
        self.check(publication)
        channel = self._prefix + publication.workspace
        key = publication.idempotency_key or ""
        first, *others = publication.payloads
        kept = self._retention
        arguments: tuple[Any, ...] = (
            first,
            "" if kept.events is None else kept.events,
            "" if kept.seconds is None else kept.seconds,
            key,
            "" if kept.payload_bytes is None else kept.payload_bytes,
            _audience(publication),
            *others,
        )
        try:
            reply = yield from self._run(channel, key, arguments)
        except Exception as error:
            raise publish_error(error) from error
        return [_text(name) for name in (reply if isinstance(reply, list) else [reply])]

    def _run(
        self, channel: str, key: str, arguments: tuple[Any, ...]
    ) -> Generator[Command, Any, Any]:
        if self._has_function:
            try:
                return (yield ("FCALL", "tidings_publish", 1, channel, *arguments))
            except Exception as error:
                if not _HAS_NO_FUNCTION.search(str(error)):
                    raise
                self._has_function = False
        # Some servers need to know every key of a script beforehand.
        keys = [channel, f"{{{channel}}}/epoch"]
        if key:
            keys.append(f"{{{channel}}}/once/{key}")
        call = (len(keys), *keys, *arguments)
        try:
            return (yield ("EVALSHA", self._hash, *call))
        except Exception as error:
            if "NoScriptError" not in _names(error):
                raise
        return (yield ("EVAL", self._script, *call))

    def publish_live(self, workspace: str, payload: bytes) -> Command:
        """Returns the command for a live event."""
        check_size(payload, self._event_bytes)
        return ("PUBLISH", self._prefix + workspace, payload)


def _audience(publication: Publication) -> str:
    """Returns the audience, or an object with the trace and the audience."""
    if publication.traceparent is None:
        return "" if publication.to is None else json.dumps(publication.to)
    members = {"traceparent": publication.traceparent, "to": publication.to}
    return json.dumps({key: value for key, value in members.items() if value is not None})


def publish_error(error: Exception) -> Exception:
    """Returns the error of a publication for one of the client of Redis."""
    names, text = _names(error), str(error)
    if isinstance(error, PublishError):
        return error
    if names & _TEMPORARY or _TEMPORARY_CODE.search(text):
        return temporary_error(f"Redis rejects the publication for now: {text}")
    if names & _FINAL:
        return PublishError(f"Redis rejects the publication: {text}", "refused-by-bus")
    if "RedisError" in names or isinstance(error, OSError):
        return temporary_error(f"Redis is not reachable: {text or type(error).__name__}")
    return error


def _names(error: Exception) -> set[str]:
    """Returns the names of the classes of an error. So the package imports no client of Redis."""
    return {kind.__name__ for kind in type(error).__mro__}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
