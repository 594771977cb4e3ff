"""Publishing after a transaction of Django."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
import redis
from django.conf import settings
from django.db import transaction

from tidings import HttpPublisher, PublishError, RedisPublisher
from tidings.django import publish_on_commit

from .servers import Broker, token

EVENT = {"type": "CHANNEL_UPDATED", "id": "c1"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    engine = "django.db.backends.sqlite3"
    settings.configure(
        SECRET_KEY="of a test", DATABASES={"default": {"ENGINE": engine, "NAME": ":memory:"}}
    )
    django.setup()


@pytest.fixture
def client(broker: Broker) -> Iterator[redis.Redis]:
    with redis.Redis(port=broker.bus) as client:
        yield client


def test_event_is_published_after_the_commit_alone(client: redis.Redis) -> None:
    publisher = RedisPublisher(client)
    event: dict[str, object] = dict(EVENT)
    with transaction.atomic():
        publish_on_commit(publisher, "acme", event, idempotency_key="k1", traceparent=TRACE)
        event["id"] = "changed later"
        assert client.xlen("workspace:acme") == 0
    entries: Any = client.xrange("workspace:acme")
    [(_, fields)] = entries
    assert fields[b"data"] == b'{"type":"CHANNEL_UPDATED","id":"c1"}'
    assert fields[b"traceparent"] == TRACE.encode()

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        publish_on_commit(publisher, "acme", EVENT)
        _ = 1 / 0
    assert client.xlen("workspace:acme") == 1
    publish_on_commit(publisher, "acme", EVENT)
    assert client.xlen("workspace:acme") == 2


def test_invalid_event_rolls_the_transaction_back(client: redis.Redis) -> None:
    publisher = RedisPublisher(client, event_bytes=10)
    committed: list[bool] = []
    with pytest.raises(PublishError), transaction.atomic():
        transaction.on_commit(lambda: committed.append(True))
        publish_on_commit(publisher, "acme", EVENT)
    assert not committed


def test_robust_publication_leaves_the_view_alone(broker: Broker) -> None:
    publisher = HttpPublisher(broker.url, token=token(workspaces="other"))
    with transaction.atomic():
        publish_on_commit(publisher, "acme", EVENT, robust=True)
    with pytest.raises(PublishError) as caught, transaction.atomic():
        publish_on_commit(publisher, "acme", EVENT)
    assert caught.value.reason == "forbidden"
