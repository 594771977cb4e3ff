"""Publishers for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from ._error import PublishError, temporary_error
from ._http import HttpTransport, Token
from ._publication import Event, Publication, check_workspace, encode, payload_of
from ._redis import RedisCommands, Retention, publish_error
from ._sync import Preparation


class AsyncRedisClient(Protocol):
    """The part of `redis.asyncio.Redis` that a publisher uses."""

    def execute_command(self, *args: Any, **options: Any) -> Awaitable[Any]:
        """Sends a command and returns its reply."""


class AsyncPublisher:
    """Publishes events durably, as `Publisher` does."""

    def __init__(self, timeout: float, retries: bool) -> None:
        self._preparation = Preparation(timeout, retries)

    async def publish(
        self,
        workspace: str,
        event: Event,
        *,
        to: Sequence[str] | None = None,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> str:
        """Publishes an event, and returns its id; see `Publisher.publish`."""
        made = self._preparation.make(
            workspace, [payload_of(event)], to, idempotency_key, traceparent
        )
        return (await self._publish(made))[0]

    async def publish_payload(
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
        return (await self._publish(made))[0]

    async def publish_batch(
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
        return await self._publish(made)

    async def _publish(self, publication: Publication) -> list[str]:
        attempts = self._preparation.attempts()
        while True:
            try:
                return await self._send(publication, attempts.seconds())
            except PublishError as error:
                error.idempotency_key = publication.idempotency_key
                pause = attempts.pause_after(error)
            await asyncio.sleep(pause)

    async def _send(self, publication: Publication, seconds: float) -> list[str]:
        raise NotImplementedError


class AsyncHttpPublisher(AsyncPublisher):
    """Publishes over HTTP. Each request runs in a thread, with the options of `HttpPublisher`."""

    def __init__(
        self, url: str, *, token: Token = None, timeout: float = 10.0, retries: bool = True
    ) -> None:
        super().__init__(timeout, retries)
        self._transport = HttpTransport(url, token)

    async def _send(self, publication: Publication, seconds: float) -> list[str]:
        return await asyncio.to_thread(self._transport.send, publication, seconds)


class AsyncRedisPublisher(AsyncPublisher):
    """Publishes over Redis with a client of `redis.asyncio`; see `RedisPublisher`."""

    def __init__(
        self,
        client: AsyncRedisClient,
        *,
        channel_prefix: str = "workspace:",
        event_bytes: int = 262_144,
        retention: Retention | None = None,
        timeout: float = 10.0,
        retries: bool = True,
    ) -> None:
        super().__init__(timeout, retries)
        if not inspect.iscoroutinefunction(client.execute_command):
            raise TypeError("this client is not for asyncio: use RedisPublisher")
        self._client = client
        self._commands = RedisCommands(channel_prefix, event_bytes, retention or Retention())

    async def publish_live(self, workspace: str, event: Event) -> int:
        """Publishes a live event; see `RedisPublisher.publish_live`."""
        check_workspace(workspace)
        command = self._commands.publish_live(workspace, payload_of(event))
        return int(await self._run(command, self._preparation.attempts().seconds()))

    async def _send(self, publication: Publication, seconds: float) -> list[str]:
        steps = self._commands.publish(publication)
        end = time.monotonic() + seconds
        try:
            command = next(steps)
            while True:
                try:
                    call = self._client.execute_command(*command)
                    reply = await asyncio.wait_for(call, end - time.monotonic())
                except asyncio.TimeoutError:
                    command = steps.throw(temporary_error("Redis has not replied in time"))
                except Exception as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(reply)
        except StopIteration as end:
            ids: list[str] = end.value
            return ids

    async def _run(self, command: tuple[Any, ...], seconds: float) -> Any:
        try:
            return await asyncio.wait_for(self._client.execute_command(*command), seconds)
        except asyncio.TimeoutError as error:
            raise temporary_error("Redis has not replied in time") from error
        except Exception as error:
            raise publish_error(error) from error
