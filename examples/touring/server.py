"""The servers that the tour talks to: its examples behind uvicorn, each in a process of its own."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from examples.touring.telling import Answer, Sent

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
HEALTH = Sent("GET", "/health")
_UVICORN = (sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning")


class ServerDied(Exception):
    """The server did not answer; the text is what it printed."""


@contextmanager
def uvicorn(
    listener: socket.socket, example: str, settings: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Serves an example on this socket, and ends with the block, whatever ends that.

    The socket listens before there is a process, so the first request waits for the server and nobody has to ask
    whether it is up. Our own copy of the socket is closed, so that the request fails where the server dies.
    """
    with listener:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter, with arguments of our own
            [*_UVICORN, "--fd", str(listener.fileno()), f"examples.{example}:app"],
            pass_fds=[listener.fileno()],
            cwd=ROOT,
            env={**os.environ, "LOG_LEVEL": "DEBUG", **settings},
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


def ask(port: int, sent: Sent) -> Answer:
    """What comes back; nothing of what is printed.

    http.client sends what it is given, as it stands: it mends no path, and sends a field twice that is put twice.
    """
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.putrequest(sent.method, sent.target)
        for name, value in sent.fields:
            connection.putheader(name, value)
        connection.endheaders()
        found = connection.getresponse()
        return Answer(found.status, found.headers.get_all("WWW-Authenticate", []), [], found.headers["Retry-After"])


@dataclass(slots=True)
class Server:
    """A running example that prints into a file, of which each answer takes what is new."""

    port: int
    output: IO[bytes]
    taken: int = 0

    def ask(self, sent: Sent) -> Answer:
        """The answer to one request."""
        try:
            answer = ask(self.port, sent)
        except (OSError, http.client.HTTPException):
            raise ServerDied("\n".join(self._printed())) from None
        # A record is written before its answer goes out, so what belongs to this request is all there.
        return replace(answer, printed=self._printed())

    def _printed(self) -> list[str]:
        new = os.pread(self.output.fileno(), 1 << 20, self.taken)
        self.taken += len(new)
        return new.decode("utf-8", "replace").splitlines()


@contextmanager
def serving(example: str, settings: Mapping[str, str]) -> Iterator[Server]:
    """A server on a free port."""
    listener = socket.create_server((HOST, 0))
    port: int = listener.getsockname()[1]
    with tempfile.TemporaryFile() as output, uvicorn(listener, example, settings, output):
        yield Server(port, output)
