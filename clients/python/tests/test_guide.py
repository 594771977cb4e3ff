"""The blocks of the guides that use the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from .servers import ROOT, Broker, start_broker

DJANGO = """
from django.conf import settings
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": database})
import django
django.setup()
import on_commit


class Channel:
    id = "c1"
    fails = False

    def save(self):
        if self.fails:
            raise ValueError(self.name)


channel = Channel()
on_commit.rename(channel, "committed")
channel.fails = True
try:
    on_commit.rename(channel, "rolled back")
except ValueError:
    pass
"""


@pytest.fixture
def open_broker() -> Iterator[Broker]:
    with start_broker({"auth.mode": "none"}) as broker:
        yield broker


def block(page: str, name: str, broker: Broker) -> str:
    text = (ROOT / "docs" / "guides" / page).read_text(encoding="utf-8")
    found = re.search(rf"```python\n(# {re.escape(name)}\n.*?)```", text, re.DOTALL)
    assert found, name
    ported = found[1].replace("port=6380", f"port={broker.bus}")
    return ported.replace("127.0.0.1:8080", f"127.0.0.1:{broker.port}")


def run(directory: Path, program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    return subprocess.check_output(
        [sys.executable, "-c", program], cwd=directory, env=environment, text=True
    )


def payloads(broker: Broker) -> list[bytes]:
    with redis.Redis(port=broker.bus) as client:
        entries: Any = client.xrange("workspace:demo")
        return [fields[b"data"] for _, fields in entries]


def test_block_of_the_package_publishes(open_broker: Broker, tmp_path: Path) -> None:
    output = run(tmp_path, block("publish.md", "publish_events.py", open_broker))
    assert re.fullmatch(r"\d+-\d+\n\d+-\d+\n", output)
    assert payloads(open_broker) == [
        b'{"type":"GREETING","text":"python package"}',
        b'{"type":"GREETING","text":"python package over HTTP"}',
    ]


def test_block_for_django_publishes_after_the_commit(open_broker: Broker, tmp_path: Path) -> None:
    program = block("publish-after-a-commit.md", "on_commit.py", open_broker)
    (tmp_path / "on_commit.py").write_text(program, encoding="utf-8")
    run(tmp_path, DJANGO)
    assert payloads(open_broker) == [b'{"type":"CHANNEL_UPDATED","id":"c1","name":"committed"}']
