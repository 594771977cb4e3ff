from __future__ import annotations

from collections.abc import Iterator

import pytest

from .servers import Broker, RedisServer, start_broker, start_redis
from .servers import LossyProxy as Proxy


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker on the embedded bus that accepts tokens."""
    with start_broker() as started:
        yield started


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with start_redis() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()
