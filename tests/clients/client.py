"""Drives a server on 127.0.0.1 with Python's redis library, in both versions of the protocol: client.py PORT"""

import pathlib
import sys

import redis

SECONDS = 20
SCRIPT = (pathlib.Path(__file__).parents[2] / "scripts" / "publish.lua").read_text()


def message(subscription, kind):
    """The next message of a kind; the library answers None for messages that it keeps to itself."""
    while True:
        received = subscription.get_message(timeout=SECONDS)
        if received is not None:
            assert received["type"] == kind, received
            return received


def use_logs(client, log):
    """Everything that a backend may do with a workspace's log."""
    first = client.xadd(log, {"data": "one"}, maxlen=1000, approximate=True)
    with client.pipeline(transaction=True) as transaction:
        transaction.xadd(log, {"data": "two"}, maxlen=1000)
        transaction.publish(log, "")
        transaction.expire(log, 86400)
        second, receivers, expires = transaction.execute()
    assert (receivers, bool(expires)) == (0, True)
    publish = client.register_script(SCRIPT)
    third = publish(keys=[log], args=["three"])
    assert publish(keys=[log], args=["once", "", "", "key"]) == publish(keys=[log], args=["once", "", "", "key"])
    batch = client.fcall("tidings_publish", 1, log, "four", 1000, 3600, "", "", "", "five", "six")
    assert len(batch) == 3, batch

    entries = client.xrange(log, count=3)
    assert [entry[0] for entry in entries] == [first, second, third], entries
    assert entries[1][1] == {b"data": b"two"}, entries
    assert client.xrevrange(log, count=1)[0][0] == batch[-1]
    assert client.xlen(log) == 7
    with client.pipeline(transaction=False) as pipeline:
        publish(keys=[log], args=["eight"], client=pipeline)
        pipeline.xlen(log)
        assert pipeline.execute()[1] == 8
    assert client.xadd(log, {"data": "nine"}, maxlen=2, approximate=False)
    assert client.xlen(log) == 2
    assert client.delete(log) == 1


def drive(port, protocol):
    client = redis.Redis(port=port, protocol=protocol, client_name="worker", socket_timeout=SECONDS)
    assert client.ping() is True
    assert client.echo("hello") == b"hello"
    assert client.execute_command("HELLO") is not None
    assert client.client_setinfo("LIB-NAME", "tests")
    assert client.info()["role"] == "master"
    assert client.publish(f"nobody-{protocol}", "x") == 0

    with client.pubsub() as subscription:
        channel, pattern = f"python-{protocol}", f"pyth*-{protocol}"
        subscription.subscribe(channel)
        assert message(subscription, "subscribe")["data"] == 1
        subscription.psubscribe(pattern)
        assert message(subscription, "psubscribe")["data"] == 2
        subscription.ping()
        assert message(subscription, "pong") is not None

        assert client.publish(channel, bytes(range(256))) == 2
        assert message(subscription, "message")["data"] == bytes(range(256))
        received = message(subscription, "pmessage")
        assert (received["pattern"], received["channel"]) == (pattern.encode(), channel.encode()), received
        assert client.pubsub_channels(channel) == [channel.encode()]

        subscription.unsubscribe()
        assert message(subscription, "unsubscribe")["data"] == 1
        subscription.punsubscribe()
        assert message(subscription, "punsubscribe")["data"] == 0

    with client.pipeline(transaction=False) as pipeline:
        for number in range(100):
            pipeline.publish("nobody", number)
        assert pipeline.execute() == [0] * 100

    use_logs(client, f"workspace:logs-{protocol}")
    entry = client.fcall("tidings_publish", 1, "workspace:python", "{}")
    assert b"-" in entry, entry
    try:
        client.get("key")
    except redis.ResponseError as error:
        assert "embedded bus" in str(error), error
    else:
        raise AssertionError("GET was taken")
    assert client.quit() is True
    client.close()


for version in (2, 3):
    drive(int(sys.argv[1]), version)
