"""Publishing by `POST`, with the standard library."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from typing import Any, Callable, Union
from urllib.parse import urlsplit

from ._error import PublishError, temporary_error
from ._publication import Publication

Token = Union[str, Callable[[], str], None]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect as it is: it would become a GET."""

    def redirect_request(self, *_args: Any) -> None:
        """Returns no request."""


class HttpTransport:
    """Sends one request for each attempt."""

    def __init__(self, url: str, token: Token) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ValueError(f"the address of the broker is no HTTP URL: {url!r}")
        self._base = url.rstrip("/")
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, publication: Publication, seconds: float) -> list[str]:
        """Publishes once, and returns the ids in order."""
        query, body = _encode(publication)
        url = f"{self._base}/workspaces/{publication.workspace}/events{query}"
        headers = {"Content-Type": "application/json"}
        if publication.idempotency_key is not None:
            # The node removes one pair of quotes, and a key may have quotes itself.
            headers["Idempotency-Key"] = f'"{publication.idempotency_key}"'
        if publication.traceparent is not None:
            headers["traceparent"] = publication.traceparent
        token = self._token() if callable(self._token) else self._token
        if token is not None:
            if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
                raise PublishError("a token has only visible ASCII characters", "bad-token")
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=seconds) as response:
                return _read_ids(response.status, response.read(), None)
        except urllib.error.HTTPError as error:
            with error:
                return _read_ids(error.code, error.read(), error.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException) as error:
            raise temporary_error(
                f"the broker is not reachable at {self._base}: {error}"
            ) from error


def _encode(publication: Publication) -> tuple[str, bytes]:
    lines = list(publication.payloads)
    parameters = ["batch=1"] if publication.is_batch else []
    if publication.to is not None:
        parameters.append("envelope=1")
        envelopes = ({"data": line.decode(), "to": publication.to} for line in lines)
        lines = [json.dumps(envelope).encode() for envelope in envelopes]
    return "?" + "&".join(parameters) if parameters else "", b"\n".join(lines)


def _read_ids(status: int, body: bytes, retry_after: str | None) -> list[str]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    members: dict[str, Any] = value if isinstance(value, dict) else {}
    if status == 200:
        ids = members.get("ids", [members.get("id")])
        if isinstance(ids, list) and all(isinstance(name, str) for name in ids):
            return ids
    prefix = "urn:tidings:problem:"
    kind = str(members.get("type", ""))
    if kind.startswith(prefix):
        reason, message = kind[len(prefix) :], str(members.get("detail"))
    else:
        hint = ": is `url` the address of the broker with its base path?" if status < 500 else ""
        reason = "unexpected-response"
        message = f"status {status} without a problem of the broker{hint}"
    raise PublishError(
        message,
        reason,
        is_temporary=status in (408, 429) or (status >= 500 and not reason.endswith("-bus")),
        status=status,
        # A date asks for nothing.
        retry_after=float(retry_after) if retry_after and retry_after.isdigit() else None,
    )
