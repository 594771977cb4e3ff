"""The shared vectors of publications, over every transport."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from tidings import (
    AsyncHttpPublisher,
    AsyncRedisPublisher,
    HttpPublisher,
    PublishError,
    RedisPublisher,
)

from .servers import ROOT, Broker, Subscriber, eventually, start_broker, start_redis, token

Publish = Callable[[dict[str, Any]], Any]


def _expand(value: Any) -> Any:
    if isinstance(value, list):
        return [_expand(each) for each in value]
    if isinstance(value, dict) and "repeat" in value:
        return value["repeat"] * value["times"]
    if isinstance(value, dict) and "users" in value:
        return [f"user-{n + 1}" for n in range(value["users"])] + [value["and"]]
    return value


def _numbered(value: Any, make: Callable[[dict[str, Any]], Any]) -> Any:
    if isinstance(value, dict):
        return [make({"type": "A", "n": n + 1}) for n in range(value["count"])]
    return value


def _text(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))


def read_vectors() -> dict[str, Any]:
    text = (ROOT / "clients" / "vectors" / "publish.json").read_text(encoding="utf-8")
    vectors: dict[str, Any] = json.loads(text)
    for name in ("published", "repeated", "batches", "refused"):
        for at, vector in enumerate(vectors[name]):
            if vector.get("surrogates"):
                text = json.dumps(vector)
                for half in ("d83d", "de00", "dc00"):
                    text = text.replace(f"<{half}>", f"\\u{half}")
                vector = json.loads(text)
            kept = {key: vector[key] for key in ("event", "events", "payloads") if key in vector}
            vectors[name][at] = {key: _expand(value) for key, value in vector.items()} | kept
            if "events" in kept:
                vectors[name][at]["events"] = _numbered(kept["events"], lambda event: event)
            if "payloads" in kept:
                vectors[name][at]["payloads"] = _numbered(kept["payloads"], _text)
    return vectors


def _call(publisher: Any, vector: dict[str, Any]) -> Any:
    options = {
        "to": vector.get("to"),
        "idempotency_key": vector.get("idempotencyKey"),
        "traceparent": vector.get("traceparent"),
    }
    workspace = vector.get("workspace", "acme")
    if "events" in vector:
        return publisher.publish_batch(workspace, vector["events"], **options)
    if "text" in vector:
        return publisher.publish_payload(workspace, vector["text"], **options)
    return publisher.publish(workspace, vector["event"], **options)


def _http(broker: Broker) -> Iterator[Publish]:
    publisher = HttpPublisher(broker.url + "/", token=token)
    yield lambda vector: _call(publisher, vector)


def _redis(broker: Broker) -> Iterator[Publish]:
    with redis.Redis(port=broker.bus) as client:
        publisher = RedisPublisher(client)
        yield lambda vector: _call(publisher, vector)


class _WithoutFunctions:
    """A client of a server that has no functions, as Redis 6.2 is."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def execute_command(self, *args: Any) -> Any:
        name = "NOFCALL" if args[0] == "FCALL" else args[0]
        return self._client.execute_command(name, *args[1:])


def _script(broker: Broker) -> Iterator[Publish]:
    with redis.Redis(port=broker.bus, decode_responses=True) as client:
        publisher = RedisPublisher(_WithoutFunctions(client))
        yield lambda vector: _call(publisher, vector)


def _in_loop(make: Callable[[], Awaitable[tuple[Any, Any]]]) -> Iterator[Publish]:
    loop = asyncio.new_event_loop()
    publisher, close = loop.run_until_complete(make())
    yield lambda vector: loop.run_until_complete(_call(publisher, vector))
    loop.run_until_complete(close())
    loop.close()


def _async_redis(broker: Broker) -> Iterator[Publish]:
    async def make() -> tuple[Any, Any]:
        client = redis.asyncio.Redis(port=broker.bus)
        return AsyncRedisPublisher(client), client.aclose

    yield from _in_loop(make)


def _async_http(broker: Broker) -> Iterator[Publish]:
    async def make() -> tuple[Any, Any]:
        async def close() -> None:
            pass

        return AsyncHttpPublisher(broker.url, token=token()), close

    yield from _in_loop(make)


@pytest.fixture(params=["embedded", "Redis"])
def any_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "embedded":
        with start_broker({"tracing.in_streams": "true"}) as broker:
            yield broker
        return
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(start_redis())
        url = f"redis://127.0.0.1:{server.port}"
        settings = {"redis.url": url, "tracing.in_streams": "true"}
        broker = stack.enter_context(start_broker(settings))
        broker.bus = server.port
        yield broker


@pytest.mark.parametrize("transport", [_http, _redis, _script, _async_redis, _async_http])
def test_vectors_hold(any_broker: Broker, transport: Callable[[Broker], Iterator[Publish]]) -> None:
    vectors = read_vectors()
    got = {
        "ann": Subscriber(any_broker, "ann"),
        "bob": Subscriber(any_broker, "bob"),
        "filtered": Subscriber(any_broker, "ann", f"?types={vectors['filter']}"),
    }
    expected: dict[str, list[tuple[str, bytes, str | None]]] = {name: [] for name in got}

    def arrives(name: str, payload: str, vector: dict[str, Any]) -> None:
        event = (name, payload.encode(), vector.get("trace"))
        expected["ann"].append(event)
        if "bob" in vector.get("to", ["bob"]):
            expected["bob"].append(event)
        if vector.get("passesFilter"):
            expected["filtered"].append(event)

    for publish in transport(any_broker):
        for vector in vectors["published"]:
            arrives(publish(vector), vector["payload"], vector)
        for vector in vectors["repeated"]:
            name = publish(vector)
            assert publish(vector) == name, vector["name"]
            arrives(name, vector["payload"], vector)
        for vector in vectors["batches"]:
            names = publish(vector)
            assert len(names) == len(vector["payloads"]), vector["name"]
            if "idempotencyKey" in vector:
                assert publish(vector) == names, vector["name"]
            for name, payload in zip(names, vector["payloads"]):
                arrives(name, payload, vector)
        for vector in vectors["refused"]:
            with pytest.raises(PublishError) as caught:
                publish(vector)
            assert caught.value.reason == vector["reason"], vector["name"]
            assert not caught.value.is_temporary, vector["name"]
        # It ends the wait of each client: after it, nothing is missing.
        end = {"type": vectors["filter"], "end": True}
        arrives(publish({"event": end}), _text(end), {"passesFilter": True})
        for client, events in expected.items():
            last = events[-1]
            eventually(f"{client} has all", lambda: last in got[client].events)  # noqa: B023
            assert got[client].events == events, client
