"""Connections to Redis that end an attempt in time."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import Any

# More threads than this may publish at once; the connections of the others are closed afterwards.
KEPT_MAX = 64
# A rest of the time that is so much shorter than an attempt still counts as a whole attempt.
SLACK_SECONDS = 0.5


class Connections:
    """Connections of a publisher, made with the settings of a client of redis-py.

    A connection of the client itself would wait for as long as its `socket_timeout` says, and try
    again several times. These wait for one attempt at most, and try once.

    pool: the pool of the client, which says where and how to connect.
    attempt_seconds: the time of a whole attempt.
    """

    def __init__(self, pool: Any, attempt_seconds: float) -> None:
        # Connections of Redis Sentinel ask the pool for the address.
        self._pool = pool
        self._attempt_seconds = attempt_seconds
        self._process = os.getpid()
        self._kept: deque[Any] = deque(maxlen=KEPT_MAX)

    def execute(self, command: tuple[Any, ...], seconds: float) -> Any:
        """Sends a command and returns its reply, or raises an error after this time."""
        is_whole = seconds > self._attempt_seconds - SLACK_SECONDS
        connection = self._take() if is_whole else self._make(seconds)
        try:
            connection.connect()
            connection.send_command(*command)
            reply = connection.read_response()
        except BaseException:
            connection.disconnect()
            raise
        if is_whole:
            self._kept.append(connection)
        else:
            connection.disconnect()
        return reply

    def _take(self) -> Any:
        """Returns a connection for a whole attempt: one that is open, if there is any."""
        if self._process != os.getpid():
            # After a fork, the sockets are those of the other process.
            self._process, self._kept = os.getpid(), deque(maxlen=KEPT_MAX)
        with contextlib.suppress(IndexError):
            while True:
                connection = self._kept.pop()
                if _is_open(connection):
                    return connection
        return self._make(self._attempt_seconds)

    def _make(self, seconds: float) -> Any:
        settings = {
            **self._pool.connection_kwargs,
            "retry": None,
            "retry_on_timeout": False,
            "retry_on_error": [],
        }
        connection = self._pool.connection_class(**settings)
        # redis-py 5.0 drops these arguments for sockets of Unix.
        for name in ("socket_timeout", "socket_connect_timeout"):
            setattr(connection, name, min(seconds, settings.get(name) or seconds))
        return connection


def _is_open(connection: Any) -> bool:
    """Returns whether the server has neither closed a connection nor sent what nothing awaits."""
    with contextlib.suppress(Exception):
        if not connection.can_read():
            return True
    connection.disconnect()
    return False
