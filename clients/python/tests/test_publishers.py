"""Publishers: lost replies, refusals, outages, and servers of other kinds."""

from __future__ import annotations

import asyncio
import http.server
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
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
    Retention,
)

from .servers import Broker, LossyProxy, RedisServer, eventually, start_broker, token

EVENT = {"type": "NUMBER", "n": 1}


def log_length(port: int) -> int:
    with redis.Redis(port=port) as client:
        length = client.execute_command("XLEN", "workspace:acme")  # type: ignore[no-untyped-call, unused-ignore]
        assert isinstance(length, int)
        return length


def refuses(publish: Callable[[], object], reason: str, *, temporary: bool) -> PublishError:
    with pytest.raises(PublishError) as caught:
        publish()
    assert (caught.value.reason, caught.value.is_temporary) == (reason, temporary), caught.value
    return caught.value


def run(made: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(made)


def test_lost_response_over_http_publishes_once(broker: Broker, proxy: LossyProxy) -> None:
    proxy.target, proxy.left = broker.port, 2
    url = f"http://127.0.0.1:{proxy.port}/api"
    HttpPublisher(url, token=token(), timeout=40).publish("acme", EVENT)
    assert proxy.lost == 2
    assert log_length(broker.bus) == 1

    proxy.left = 1
    once = HttpPublisher(url, token=token(), retries=False)
    error = refuses(lambda: once.publish("acme", EVENT), "unavailable", temporary=True)
    assert error.idempotency_key is None
    assert log_length(broker.bus) == 2

    proxy.left = 1
    run(AsyncHttpPublisher(url, token=token).publish("acme", EVENT))
    assert log_length(broker.bus) == 3


def test_repetition_with_the_key_of_the_error_publishes_once(
    broker: Broker, proxy: LossyProxy
) -> None:
    proxy.target, proxy.left = broker.port, 100
    url = f"http://127.0.0.1:{proxy.port}/api"
    publisher = HttpPublisher(url, token=token(), timeout=0.5)
    error = refuses(lambda: publisher.publish("acme", EVENT), "unavailable", temporary=True)
    proxy.left = 0
    publisher.publish("acme", EVENT, idempotency_key=error.idempotency_key)
    assert log_length(broker.bus) == 1


def test_lost_reply_of_redis_publishes_once(redis_server: RedisServer, proxy: LossyProxy) -> None:
    proxy.target = redis_server.port
    with redis.Redis(port=redis_server.port) as client:
        RedisPublisher(client).publish("acme", EVENT)
    proxy.left = 2
    with redis.Redis(port=proxy.port) as client:
        RedisPublisher(client, timeout=40).publish("acme", EVENT)
    assert proxy.lost == 2
    assert log_length(redis_server.port) == 2

    async def publish() -> None:
        client = redis.asyncio.Redis(port=proxy.port)
        await AsyncRedisPublisher(client).publish("acme", EVENT)
        await client.aclose()

    proxy.left = 2
    run(publish())
    assert proxy.lost == 4
    assert log_length(redis_server.port) == 3


def test_outage_of_redis_is_temporary(redis_server: RedisServer) -> None:
    client = redis.Redis(port=redis_server.port)
    publisher = RedisPublisher(client, timeout=40)
    hasty = RedisPublisher(client, timeout=0.1)
    publisher.publish("acme", EVENT)
    redis_server.stop()
    refuses(lambda: hasty.publish("acme", EVENT), "unavailable", temporary=True)

    async def publish() -> None:
        other = redis.asyncio.Redis(port=redis_server.port)
        await AsyncRedisPublisher(other, timeout=0.1).publish("acme", EVENT)

    refuses(lambda: run(publish()), "unavailable", temporary=True)
    start = threading.Thread(target=redis_server.start)
    start.start()
    publisher.publish("acme", EVENT)
    start.join()
    assert log_length(redis_server.port) == 1
    client.close()


@pytest.mark.parametrize("retries", [True, False])
@pytest.mark.parametrize("used", [True, False])
def test_frozen_redis_ends_a_publication_in_time(
    redis_server: RedisServer, retries: bool, used: bool
) -> None:
    client = redis.Redis(port=redis_server.port, socket_timeout=5)
    publisher = RedisPublisher(client, timeout=2, retries=retries)
    calls = (
        lambda: publisher.publish("acme", EVENT),
        lambda: publisher.publish_live("acme", EVENT),
    )
    if used:
        publisher.publish("acme", EVENT)
    with redis_server.frozen():
        for call in calls:
            began = time.monotonic()
            refuses(call, "unavailable", temporary=True)
            assert 1 < time.monotonic() - began < 3
    # Redis runs what it has received: the event of the frozen time may be published as well.
    publisher.publish("acme", EVENT)
    assert log_length(redis_server.port) >= 1


@pytest.mark.parametrize("retries", [True, False])
def test_frozen_redis_ends_an_async_publication_in_time(
    redis_server: RedisServer, retries: bool
) -> None:
    async def publish() -> None:
        client = redis.asyncio.Redis(port=redis_server.port, socket_timeout=5)
        publisher = AsyncRedisPublisher(client, timeout=2, retries=retries)
        with redis_server.frozen():
            for call in (publisher.publish, publisher.publish_live):
                began = time.monotonic()
                with pytest.raises(PublishError) as caught:
                    await call("acme", EVENT)
                assert caught.value.is_temporary
                assert 1 < time.monotonic() - began < 3
        await publisher.publish("acme", EVENT)
        await client.aclose()

    run(publish())


def test_connection_that_the_server_has_closed_costs_no_attempt(redis_server: RedisServer) -> None:
    client = redis.Redis(port=redis_server.port)
    publisher = RedisPublisher(client, retries=False)
    publisher.publish("acme", EVENT)
    client.client_kill_filter(_type="normal", skipme=True)  # type: ignore[no-untyped-call, unused-ignore]
    publisher.publish("acme", EVENT)
    # A connection is used again: only the killed one and its successor have connected.
    before: Any = client.info("stats")
    for _ in range(3):
        publisher.publish("acme", EVENT)
    after: Any = client.info("stats")
    assert after["total_connections_received"] == before["total_connections_received"]
    assert log_length(redis_server.port) == 5


def test_process_after_a_fork_has_a_connection_of_its_own(redis_server: RedisServer) -> None:
    publisher = RedisPublisher(redis.Redis(port=redis_server.port))
    publisher.publish("acme", EVENT)
    admin = redis.Redis(port=redis_server.port)
    before: Any = admin.info("stats")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(2):
                publisher.publish("acme", EVENT)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    publisher.publish("acme", EVENT)
    after: Any = admin.info("stats")
    assert after["total_connections_received"] == before["total_connections_received"] + 1
    assert log_length(redis_server.port) == 4


def test_silent_redis_ends_an_async_publication(proxy: LossyProxy) -> None:
    listener = http.server.socketserver.TCPServer(("127.0.0.1", 0), None)  # type: ignore[attr-defined]

    async def publish() -> None:
        client = redis.asyncio.Redis(port=listener.server_address[1])
        await AsyncRedisPublisher(client, timeout=0.3, retries=False).publish("acme", EVENT)

    error = refuses(lambda: run(publish()), "unavailable", temporary=True)
    assert "has not replied in time" in str(error)
    listener.server_close()


def test_publication_waits_for_a_broker_that_restarts(broker: Broker) -> None:
    broker.stop()
    hasty = HttpPublisher(broker.url, token=token(), retries=False)
    error = refuses(lambda: hasty.publish("acme", EVENT), "unavailable", temporary=True)
    assert "not reachable at" in str(error)
    start = threading.Thread(target=broker.start)
    start.start()
    HttpPublisher(broker.url, token=token(), timeout=40).publish("acme", EVENT)
    start.join()


def test_rate_limit_states_its_pause_and_the_publisher_waits() -> None:
    with start_broker({"limits.events_per_second": "1"}) as broker:
        once = HttpPublisher(broker.url, token=token(), retries=False)
        with pytest.raises(PublishError) as caught:
            for _ in range(1000):
                once.publish("acme", EVENT)
        assert (caught.value.reason, caught.value.status) == ("rate-limited", 429)
        assert caught.value.is_temporary
        assert caught.value.retry_after is not None
        assert caught.value.retry_after >= 1
        patient = HttpPublisher(broker.url, token=token(), timeout=40)
        began = time.monotonic()
        assert len({patient.publish("acme", {"type": "A", "n": n}) for n in range(3)}) == 3
        assert time.monotonic() - began >= 1


def test_refusal_of_the_broker_is_final() -> None:
    with start_broker({"limits.event_bytes": "1024"}) as broker:
        anonymous = HttpPublisher(broker.url)
        error = refuses(
            lambda: anonymous.publish("acme", EVENT), "unauthenticated", temporary=False
        )
        assert error.status == 401
        other = HttpPublisher(broker.url, token=token(workspaces="other"))
        refuses(lambda: other.publish("acme", EVENT), "forbidden", temporary=False)
        publisher = HttpPublisher(broker.url, token=token)
        refuses(
            lambda: publisher.publish_payload("acme", "x" * 1025),
            "event-too-large",
            temporary=False,
        )
        lost = HttpPublisher(broker.url + "/other", token=token)
        refuses(lambda: lost.publish("acme", EVENT), "not-found", temporary=False)
        publisher.publish("acme", EVENT)


@contextmanager
def other_server(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "headers", "temporary"),
    [
        (404, b"<html>", {}, False),
        (302, b"", {"Location": "/login"}, False),
        (200, b"<html>", {}, False),
        (200, b'{"id":5}', {}, False),
        (200, b"[]", {}, False),
        (502, b"", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, True),
    ],
)
def test_response_of_another_server_is_named(
    status: int, body: bytes, headers: dict[str, str], temporary: bool
) -> None:
    with other_server(status, body, headers) as url:
        publisher = HttpPublisher(url, retries=False)
        error = refuses(
            lambda: publisher.publish("acme", EVENT), "unexpected-response", temporary=temporary
        )
        assert error.status == status


def test_rejection_of_redis_is_final_and_a_shortage_is_not(redis_server: RedisServer) -> None:
    admin = redis.Redis(port=redis_server.port)
    admin.acl_setuser(  # type: ignore[no-untyped-call, unused-ignore]
        "app", enabled=True, passwords=["+secret"], keys=["*"], channels=["*"], commands=["+ping"]
    )
    client = redis.Redis(port=redis_server.port, username="app", password="secret")
    error = refuses(
        lambda: RedisPublisher(client).publish("acme", EVENT), "refused-by-bus", temporary=False
    )
    assert "no permissions" in str(error)
    wrong = redis.Redis(port=redis_server.port, username="app", password="wrong")
    refuses(lambda: RedisPublisher(wrong).publish("acme", EVENT), "refused-by-bus", temporary=False)
    publisher = RedisPublisher(admin, retries=False)
    admin.config_set("maxmemory", "1")
    refuses(lambda: publisher.publish("acme", EVENT), "unavailable", temporary=True)
    admin.config_set("maxmemory", "0")
    admin.set("workspace:acme", "no stream")
    error = refuses(lambda: publisher.publish("acme", EVENT), "refused-by-bus", temporary=False)
    assert "WRONGTYPE" in str(error)


def test_server_may_lose_the_function_and_the_script(redis_server: RedisServer) -> None:
    client = redis.Redis(port=redis_server.port)
    with start_broker({"redis.url": f"redis://127.0.0.1:{redis_server.port}"}):
        eventually("the node loads the function", lambda: client.function_list())
    publisher = RedisPublisher(client)
    publisher.publish("acme", EVENT)
    stats: Any = client.info("commandstats")
    assert stats["cmdstat_fcall"]["calls"] == 1
    assert "cmdstat_evalsha" not in stats or stats["cmdstat_evalsha"]["calls"] >= 0
    client.function_flush()
    client.script_flush()
    publisher.publish("acme", EVENT)
    client.script_flush()
    publisher.publish("acme", EVENT)
    assert log_length(redis_server.port) == 3


def test_prefix_and_retention_are_those_of_the_publisher(redis_server: RedisServer) -> None:
    client = redis.Redis(port=redis_server.port)
    publisher = RedisPublisher(
        client, channel_prefix="app:ws:", retention=Retention(events=100, seconds=60)
    )
    publisher.publish_batch("acme", [{"type": "A", "n": n} for n in range(1000)])
    publisher.publish("acme", EVENT)
    assert log_length(redis_server.port) == 0
    length: Any = client.xlen("app:ws:acme")
    assert 100 <= length <= 300
    remaining: Any = client.ttl("app:ws:acme")
    assert remaining <= 60
    small = RedisPublisher(client, event_bytes=20)
    refuses(
        lambda: small.publish("acme", {"type": "LONGER_THAN_THAT"}),
        "event-too-large",
        temporary=False,
    )


def test_live_event_is_in_no_log(broker: Broker) -> None:
    publisher = RedisPublisher(redis.Redis(port=broker.bus))
    assert publisher.publish_live("acme", EVENT) >= 0
    refuses(lambda: publisher.publish_live("a b", EVENT), "bad-workspace", temporary=False)

    async def publish() -> int:
        client = redis.asyncio.Redis(port=broker.bus)
        count = await AsyncRedisPublisher(client).publish_live("acme", EVENT)
        await client.aclose()
        return count

    assert run(publish()) >= 0
    assert log_length(broker.bus) == 0


def test_event_that_cannot_become_json_is_refused() -> None:
    publisher = HttpPublisher("http://127.0.0.1:1/api")
    circle: dict[str, object] = {"type": "A"}
    circle["self"] = circle
    for event in (circle, {"type": "A", "n": float("nan")}, {"type": "A", "x": object()}):
        refuses(lambda: publisher.publish("acme", event), "bad-event", temporary=False)  # noqa: B023
    payload: Any = b"x"
    refuses(lambda: publisher.publish_payload("acme", payload), "bad-event", temporary=False)
    refuses(lambda: publisher.publish("acme", EVENT, to="ann"), "bad-envelope", temporary=False)


def test_token_that_no_header_can_have_is_refused() -> None:
    url = "http://127.0.0.1:1/api"
    for bad in ("secret\n", "a\r\nb", "\u20ac", "\u00e9", "a b", ""):
        for given in (bad, lambda: bad):  # noqa: B023
            once = HttpPublisher(url, token=given)
            error = refuses(lambda: once.publish("acme", EVENT), "bad-token", temporary=False)  # noqa: B023
            assert "secret" not in str(error)
            other = AsyncHttpPublisher(url, token=given)
            refuses(lambda: run(other.publish("acme", EVENT)), "bad-token", temporary=False)  # noqa: B023


def test_wrong_options_are_errors_of_the_first_line() -> None:
    for url in ("broker", "", "ftp://broker/api"):
        with pytest.raises(ValueError, match="no HTTP URL"):
            HttpPublisher(url)

    async def confuse() -> None:
        RedisPublisher(redis.asyncio.Redis())

    with pytest.raises(TypeError, match="use AsyncRedisPublisher"):
        run(confuse())
    with pytest.raises(TypeError, match="use RedisPublisher"):
        AsyncRedisPublisher(redis.Redis())
