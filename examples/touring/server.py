"""The server that the tour talks to: examples/quickstart.py behind uvicorn, in a process of its own."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from examples.touring.steps import Answer

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
_UVICORN = (sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning", "examples.quickstart:app")


class ServerDied(Exception):
    """The server did not answer; the text is what it printed."""


@contextmanager
def uvicorn(
    listener: socket.socket, pem: str, leeway: int, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Serves on this socket, and ends with the block, whatever ends that.

    The socket listens before there is a process, so the first request waits for the server and nobody has to ask
    whether it is up. Our own copy of the socket is closed, so that the request fails where the server dies.
    """
    settings = {"ISSUER_PUBLIC_KEY": pem, "LEEWAY": str(leeway), "LOG_LEVEL": "DEBUG"}
    with listener:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter, with arguments of our own
            [*_UVICORN, "--fd", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()


def get(port: int, target: str, tokens: Sequence[str] = ()) -> tuple[int, list[str]]:
    """The status and the WWW-Authenticate lines.

    http.client sends what it is given, as it stands: it mends no path, and sends a field twice that is put twice.
    """
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.putrequest("GET", target)
        for token in tokens:
            connection.putheader("Authorization", f"Bearer {token}")
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.headers.get_all("WWW-Authenticate", [])


@dataclass(slots=True)
class Server:
    """A running quickstart that prints into a file, of which each answer takes what is new."""

    port: int
    output: IO[bytes]
    taken: int = 0

    def get(self, target: str, tokens: Sequence[str] = ()) -> Answer:
        """The answer to one request."""
        try:
            status, challenges = get(self.port, target, tokens)
        except (OSError, http.client.HTTPException):
            raise ServerDied("\n".join(self._printed())) from None
        # A record is written before its answer goes out, so what belongs to this request is all there.
        return Answer(status, challenges, self._printed())

    def _printed(self) -> list[str]:
        new = os.pread(self.output.fileno(), 1 << 20, self.taken)
        self.taken += len(new)
        return new.decode("utf-8", "replace").splitlines()


@contextmanager
def serving(pem: str, leeway: int) -> Iterator[Server]:
    """A server on a free port."""
    listener = socket.create_server((HOST, 0))
    port: int = listener.getsockname()[1]
    with tempfile.TemporaryFile() as output, uvicorn(listener, pem, leeway, output):
        yield Server(port, output)
