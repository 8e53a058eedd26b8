"""The servers of the tour: each example runs behind uvicorn, in its own process."""

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

from examples.tour.step import Request, Response

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
HEALTH = Request("GET", "/health")
_UVICORN = (sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning")


class ServerDied(Exception):
    """The server did not answer. The text is what the server printed."""


@contextmanager
def uvicorn_process(
    listener: socket.socket, example: str, settings: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Serve an example on this socket until the ``with`` block ends.

    The socket listens before the process starts. The first request therefore waits for the server, and no polling is
    needed. The parent closes its copy of the socket, so that a request fails if the server dies.
    """
    with listener:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with fixed arguments
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


def send(port: int, request: Request) -> Response:
    """Send a request and return the response, without the lines that the server logged.

    http.client sends a path and headers exactly as given: it does not normalise the path, and it sends a header twice
    if it is given twice.
    """
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.putrequest(request.method, request.target)
        for name, value in request.headers:
            connection.putheader(name, value)
        if request.body:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        challenges = response.headers.get_all("WWW-Authenticate", [])
        cookies = response.headers.get_all("Set-Cookie", [])
        return Response(response.status, challenges, [], response.headers["Retry-After"], cookies)


@dataclass(slots=True)
class Server:
    """A running example that logs into a file. Each response gets the lines that are new in the file."""

    port: int
    output: IO[bytes]
    position: int = 0

    def send(self, request: Request) -> Response:
        """Send a request, and return the response with the lines that were logged for it."""
        try:
            response = send(self.port, request)
        except (OSError, http.client.HTTPException):
            raise ServerDied("\n".join(self._new_lines())) from None
        # The server writes the record before it sends the response, so the file is complete for this request.
        return replace(response, log=self._new_lines())

    def _new_lines(self) -> list[str]:
        new = os.pread(self.output.fileno(), 1 << 20, self.position)
        self.position += len(new)
        return new.decode("utf-8", "replace").splitlines()


@contextmanager
def running_server(example: str, settings: Mapping[str, str]) -> Iterator[Server]:
    """Serve an example on a free port until the ``with`` block ends."""
    listener = socket.create_server((HOST, 0))
    port: int = listener.getsockname()[1]
    with tempfile.TemporaryFile() as output, uvicorn_process(listener, example, settings, output):
        yield Server(port, output)
