"""Publishes events to Tidings, a broker for Server-Sent Events.

`RedisPublisher` and `HttpPublisher` are for threads, `AsyncRedisPublisher` and
`AsyncHttpPublisher` for asyncio. `tidings.django` publishes after a transaction.
"""

from ._async import AsyncHttpPublisher, AsyncRedisPublisher
from ._error import PublishError
from ._redis import Retention
from ._sync import HttpPublisher, RedisPublisher

__all__ = [
    "AsyncHttpPublisher",
    "AsyncRedisPublisher",
    "HttpPublisher",
    "PublishError",
    "RedisPublisher",
    "Retention",
]
