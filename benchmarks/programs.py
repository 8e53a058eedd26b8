"""The processes of a benchmark: a server, and who asks it, each by itself."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

ROOT = Path(__file__).parents[1]


class Served(NamedTuple):
    """The process of a server, and its port on loopback."""

    pid: int
    port: int


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A module that runs with these arguments. It is ended where it does not end by itself."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    """A module that calls ``serve``."""
    with program(*arguments) as process:
        if process.stdout is None or not (port := process.stdout.readline()):
            raise SystemExit(f"{' '.join(arguments[:2])}: the server has not started")
        yield Served(process.pid, int(port))


def serve(app: ASGIApp) -> None:
    """Serves the app on loopback, and prints its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[listener])
