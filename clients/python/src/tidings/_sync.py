"""Publishers for threads."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ._attempts import SECONDS_MIN, Attempts
from ._connections import Connections
from ._error import PublishError
from ._http import HttpTransport, Token
from ._publication import (
    Event,
    Publication,
    audience_of,
    check_workspace,
    encode,
    payload_of,
    trace_of,
)
from ._redis import Command, RedisCommands, Retention, publish_error


class RedisClient(Protocol):
    """The part of `redis.Redis` that a publisher uses."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Sends a command and returns its reply."""


class Preparation:
    """Makes publications, and checks them before they are sent."""

    def __init__(self, timeout: float, retries: bool) -> None:
        self.timeout = timeout
        self.retries = retries

    def make(
        self,
        workspace: str,
        payloads: Sequence[bytes],
        to: Sequence[str] | None,
        key: str | None,
        traceparent: str | None,
        *,
        is_batch: bool = False,
    ) -> Publication:
        """Returns a publication. It gets a random key, so that a retry publishes nothing twice."""
        if key is None and self.retries:
            key = str(uuid.uuid4())
        trace = trace_of(traceparent)
        return Publication(workspace, tuple(payloads), is_batch, audience_of(to), key, trace)

    def attempts(self) -> Attempts:
        """Returns the attempts of one publication."""
        return Attempts(self.timeout, self.retries)


class Publisher:
    """Publishes events durably: clients that are away get them later."""

    def __init__(self, timeout: float, retries: bool) -> None:
        self._preparation = Preparation(timeout, retries)

    def publish(
        self,
        workspace: str,
        event: Event,
        *,
        to: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Publishes an event, and returns its id.

        `to` has the ids of the users that get the event: a private event. Within five minutes, a
        further publication with the same `idempotency_key` publishes nothing. `traceparent` is the
        trace of the event (W3C Trace Context). An invalid one counts as none.
        """
        publish = self.prepare(
            workspace, event, to=to, idempotency_key=idempotency_key, traceparent=traceparent
        )
        return publish()

    def publish_payload(
        self,
        workspace: str,
        payload: str,
        *,
        to: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Publishes a text as it is, such as JSON that another program has made."""
        made = self._preparation.make(
            workspace, [encode(payload)], to, idempotency_key, traceparent
        )
        return self._publish(made)[0]

    def publish_batch(
        self,
        workspace: str,
        events: Sequence[Event],
        *,
        to: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> list[str]:
        """Publishes 1 to 1,000 events next to each other, all or none. Returns their ids."""
        payloads = [payload_of(event) for event in events]
        made = self._preparation.make(
            workspace, payloads, to, idempotency_key, traceparent, is_batch=True
        )
        return self._publish(made)

    def prepare(
        self,
        workspace: str,
        event: Event,
        *,
        to: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> Callable[[], str]:
        """Checks an event now, and returns a function that publishes it later."""
        made = self._preparation.make(
            workspace, [payload_of(event)], to, idempotency_key, traceparent
        )
        self._check(made)

        # Django reports the name of what fails after a commit, which other callables lack.
        def publish() -> str:
            return self._publish(made)[0]

        return publish

    def _publish(self, publication: Publication) -> list[str]:
        attempts = self._preparation.attempts()
        while True:
            try:
                return self._send(publication, attempts.seconds())
            except PublishError as error:
                error.idempotency_key = publication.idempotency_key
                pause = attempts.pause_after(error)
            time.sleep(pause)

    def _check(self, publication: Publication) -> None:
        """Refuses what this transport cannot publish."""

    def _send(self, publication: Publication, seconds: float) -> list[str]:
        raise NotImplementedError


class HttpPublisher(Publisher):
    """Publishes over HTTP, with the standard library.

    url: the address of the broker with its base path, such as `http://127.0.0.1:8080/api`.
    token: a token whose `publish` claim names the workspaces, or a function that returns one.
    timeout: the time for all attempts of a publication in seconds.
    retries: whether to try again after a temporary error, with an idempotency key.
    """

    def __init__(
        self, url: str, *, token: Token = None, timeout: float = 10.0, retries: bool = True
    ) -> None:
        super().__init__(timeout, retries)
        self._transport = HttpTransport(url, token)

    def _send(self, publication: Publication, seconds: float) -> list[str]:
        return self._transport.send(publication, seconds)


class RedisPublisher(Publisher):
    """Publishes over Redis, with a client of redis-py.

    channel_prefix: `redis.channel_prefix` of the nodes.
    event_bytes: `limits.event_bytes` of the nodes, which drop larger events.
    retention: how much the log keeps.
    timeout, retries: as for `HttpPublisher`. A shorter `socket_timeout` of the client bounds one
    attempt.

    It has connections of its own, made with the settings of the client and without its retries. A
    client that has no pool of connections, such as `RedisCluster`, sends the commands itself: its
    own `socket_timeout` and retries decide how long that takes.
    """

    def __init__(
        self,
        client: RedisClient,
        *,
        channel_prefix: str = "workspace:",
        event_bytes: int = 262_144,
        retention: Retention | None = None,
        timeout: float = 10.0,
        retries: bool = True,
    ) -> None:
        super().__init__(timeout, retries)
        if inspect.iscoroutinefunction(client.execute_command):
            raise TypeError("this client is for asyncio: use AsyncRedisPublisher")
        self._client = client
        pool = getattr(client, "connection_pool", None)
        whole = self._preparation.attempts().seconds()
        self._connections = None if pool is None else Connections(pool, whole)
        self._commands = RedisCommands(channel_prefix, event_bytes, retention or Retention())

    def publish_live(self, workspace: str, event: Event) -> int:
        """Publishes a live event, which is in no log: only clients that are connected get it.

        Returns the number of nodes and other subscribers that Redis has passed it to.
        """
        check_workspace(workspace)
        command = self._commands.publish_live(workspace, payload_of(event))
        try:
            return int(self._execute(command, self._preparation.attempts().seconds()))
        except Exception as error:
            raise publish_error(error) from error

    def _check(self, publication: Publication) -> None:
        self._commands.check(publication)

    def _send(self, publication: Publication, seconds: float) -> list[str]:
        steps = self._commands.publish(publication)
        end = time.monotonic() + seconds
        try:
            command = next(steps)
            while True:
                try:
                    reply = self._execute(command, end - time.monotonic())
                except Exception as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(reply)
        except StopIteration as end:
            ids: list[str] = end.value
            return ids

    def _execute(self, command: Command, seconds: float) -> Any:
        if self._connections is None:
            return self._client.execute_command(*command)
        return self._connections.execute(command, max(seconds, SECONDS_MIN))
