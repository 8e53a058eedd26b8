"""ASGI servers in processes of their own, and raw sockets to send them requests."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.apps.common import PUBLIC_KEY
from tests.support.tokens import ec_key, mint, public_pem

ROOT = Path(__file__).parents[3]
TIMEOUT = 120.0

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that came back until the server closed the connection."""

    raw: bytes = field(repr=False)

    @property
    def statuses(self) -> list[int]:
        """The status of each response; empty if the server only closed the connection."""
        return [int(status) for status in _STATUS.findall(self.raw)]

    @property
    def status(self) -> int:
        """The status of the only response; 0 if there is not exactly one."""
        return self.statuses[0] if len(self.statuses) == 1 else 0

    def lines(self, name: str) -> list[str]:
        """The values of every field line with this lower-case name in the first response."""
        head = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")
        fields = [line.partition(": ") for line in head.split("\r\n")[1:]]
        return [value for key, _, value in fields if key.lower() == name]

    def contains(self, text: str) -> bool:
        """Whether the text occurs anywhere in what came back."""
        return text.encode() in self.raw


class AppServer:
    """``python -m uvicorn``, or ``hypercorn``, with an app of these tests, on a port that the system chose."""

    def __init__(self, app: str, *options: str, program: str = "uvicorn", **env: str) -> None:
        anywhere = {"uvicorn": ("--port", "0"), "hypercorn": ("--bind", "127.0.0.1:0")}[program]
        command = [sys.executable, "-m", program, f"tests.integration.apps.{app}", *anywhere, *options]
        key = public_pem(ec_key()).decode()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), PUBLIC_KEY: key, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        )
        self.lines: list[str] = []
        self._ended = False
        self._settle_count = 0
        self._line_arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                with self._line_arrived:
                    self.lines.append(line.rstrip("\n"))
                    self._line_arrived.notify_all()
        with self._line_arrived:
            self._ended = True
            self._line_arrived.notify_all()

    def wait_for(self, text: str, since: int = 0) -> str:
        """Wait for a line on stderr that contains the text, and return the first one from line ``since`` on."""

        def match() -> str | None:
            return next((line for line in self.lines[since:] if text in line), None)

        with self._line_arrived:
            self._line_arrived.wait_for(lambda: self._ended or match() is not None, TIMEOUT)
            line = match()
        assert line is not None, f"{text!r} was never logged:\n" + "\n".join(self.lines)
        return line

    def settle(self) -> int:
        """Wait until stderr holds every line that was caused so far, and return how many lines that are.

        A last request, whose line is known, shows that all lines before it have arrived.
        """
        self._settle_count += 1
        self.send(request_bytes(f"/settled-{self._settle_count}%00"))
        self.wait_for(f"/settled-{self._settle_count}\\x00")
        return len(self.lines)

    def lines_since(self, before: int) -> list[str]:
        """The lines since ``settle`` returned this number."""
        return self.lines[before : self.settle() - 1]

    @property
    def port(self) -> int:
        """The port, once the server listens on it."""
        line = self.wait_for("unning on http://")
        return int(line.partition("http://127.0.0.1:")[2].split()[0])

    @property
    def url(self) -> str:
        """The URL of the server, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> int:
        """Wait until the server ends by itself, and return its exit status."""
        status = self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return status

    def stop(self) -> int:
        """Terminate the server if it still runs, and return its exit status."""
        self._process.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait()
            raise

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT)

    def send(self, data: bytes) -> Answer:
        """Send exactly these bytes, and read until the server closes: the request must ask it to close."""
        received = bytearray()
        with self.connect() as connection:
            try:
                connection.sendall(data)
                while chunk := connection.recv(65536):
                    received += chunk
            except ConnectionError:
                pass  # the server closed before it had read everything
        return Answer(bytes(received))


@contextmanager
def running_servers(*starts: Callable[[], AppServer]) -> Iterator[list[AppServer]]:
    """Start these servers side by side, and stop them at the end. Fails if one of them wrote a traceback."""
    with ExitStack() as stack:
        servers: list[AppServer] = []
        for start in starts:
            server = start()
            stack.callback(server.stop)
            servers.append(server)
        for server in servers:
            assert server.port
        yield servers
    for server in servers:
        assert not [line for line in server.lines if "Traceback" in line], "\n".join(server.lines)


def app_token(subject: str = "alice", *roles: str, **changes: Any) -> str:
    """A valid token for the apps of these tests."""
    return mint(ec_key(), "ES256", sub=subject, roles=list(roles), **changes)


def request_bytes(target: str | bytes, *fields: str | bytes, method: str = "GET", host: str = "app.example") -> bytes:
    """A request as it is sent over the network, with any target and fields."""
    parts = [part if isinstance(part, bytes) else part.encode("latin-1") for part in (target, *fields)]
    first = method.encode() + b" " + parts[0] + b" HTTP/1.1"
    return b"\r\n".join([first, b"Host: " + host.encode(), b"Connection: close", *parts[1:], b"", b""])


def bearer_field(bearer_token: str) -> str:
    """The field line that carries this token."""
    return f"Authorization: Bearer {bearer_token}"
