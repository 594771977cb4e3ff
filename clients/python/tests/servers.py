"""Real servers for tests: brokers, Redis, and a proxy that loses replies."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[3]
SECRET = "a secret of thirty-two bytes, at least that long"
DEADLINE_SECONDS = 40.0
T = TypeVar("T")


def eventually(what: str, condition: Callable[[], T]) -> T:
    """Waits until a condition returns something, with a deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {DEADLINE_SECONDS} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def token(user: str = "ann", workspaces: str = "*") -> str:
    claims = {
        "sub": user,
        "workspaces": [workspaces],
        "publish": [workspaces],
        "exp": int(time.time()) + 600,
    }
    head = {"alg": "HS256", "typ": "JWT"}
    signed = ".".join(_encode(json.dumps(part).encode()) for part in (head, claims))
    signature = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encode(signature)}"


class Broker:
    """A running broker. `bus` is the port of its Redis or of its embedded bus."""

    def __init__(self, directory: str, settings: dict[str, str]) -> None:
        self.port, admin, embedded = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._admin = f"http://127.0.0.1:{admin}"
        self.bus = embedded
        all_settings = {
            "server.listen": f"127.0.0.1:{self.port}",
            "admin.listen": f"127.0.0.1:{admin}",
            "embedded.listen": f"127.0.0.1:{embedded}",
            "embedded.path": f"{directory}/logs",
            "auth.mode": "jwt",
            "auth.jwt.algorithm": "HS256",
            "auth.jwt.secret": SECRET,
            **settings,
        }
        named = os.environ.get("TIDINGS_PROGRAM")
        target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
        self._program = named or f"{target}/debug/tidings"
        own = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS")}
        names = {
            f"TIDINGS__{key.upper().replace('.', '__')}": value
            for key, value in all_settings.items()
        }
        self._environment = {**own, **names}
        self._log = Path(directory) / "log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "serve"], env=self._environment, stdout=log, stderr=log
            )
        eventually("the broker is ready", self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self._admin}/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def start_broker(settings: dict[str, str] | None = None) -> Iterator[Broker]:
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(directory, settings or {})
        try:
            yield broker
        finally:
            broker.stop()


class RedisServer:
    """A running Redis without a file."""

    def __init__(self, directory: str) -> None:
        self.port = free_port()
        self._directory = directory
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            ["redis-server", *options, "--dir", self._directory], stdout=subprocess.DEVNULL
        )
        eventually("Redis replies", self._replies)

    def _replies(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(b"PING\r\n")
            return s.recv(100).startswith(b"+PONG")
        return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server accepts connections and replies to nothing."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def start_redis() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(directory)
        try:
            yield server
        finally:
            server.stop()


class LossyProxy:
    """Passes publications on, and loses the replies of the next ones."""

    def __init__(self) -> None:
        self.lost = 0
        self.left = 0
        self.target = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self.target))
        loses = threading.Event()

        def pass_replies() -> None:
            with contextlib.suppress(OSError):
                while data := server.recv(65536):
                    if loses.is_set():
                        self.lost += 1
                        break
                    client.sendall(data)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

        threading.Thread(target=pass_replies, daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.left > 0 and re.search(rb"^POST |EVALSHA", data):
                    self.left -= 1
                    loses.set()
                server.sendall(data)


class Subscriber:
    """A client of a user, which records the id, the bytes and the trace of each payload."""

    def __init__(self, broker: Broker, user: str, query: str = "") -> None:
        self.events: list[tuple[str, bytes, str | None]] = []
        self._is_connected = threading.Event()
        request = urllib.request.Request(
            f"{broker.url}/workspaces/acme/events{query}",
            headers={"Authorization": f"Bearer {token(user)}", "Accept": "text/event-stream"},
        )
        self._response: Any = urllib.request.urlopen(request, timeout=DEADLINE_SECONDS)
        threading.Thread(target=self._read, daemon=True).start()
        assert self._is_connected.wait(DEADLINE_SECONDS)

    def _read(self) -> None:
        name, event_id, trace, lines = b"", b"", None, list[bytes]()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for line in self._response:
                field, _, value = line[:-1].partition(b": ")
                if field == b"event":
                    name = value
                elif field == b"id":
                    event_id = value
                elif field == b"data":
                    lines.append(value)
                elif line.startswith(b": traceparent="):
                    trace = value.partition(b"=")[2].decode()
                elif line == b"\n":
                    if not name and self._is_connected.is_set():
                        self.events.append((event_id.decode(), b"\n".join(lines), trace))
                    elif not name:
                        # The first message is the `connected` event.
                        self._is_connected.set()
                    name, trace, lines = b"", None, []
