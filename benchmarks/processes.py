"""Start the processes of a benchmark: the server and the programs that send requests to it."""

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


class ServerProcess(NamedTuple):
    """The process ID of a server, and its port on the loopback interface."""

    pid: int
    port: int


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module with these arguments. At the end of the ``with`` block the process is killed if it still runs."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def server_process(*arguments: str) -> Iterator[ServerProcess]:
    """Run a module that calls ``serve``, until the ``with`` block ends."""
    with program(*arguments) as process:
        if process.stdout is None or not (port := process.stdout.readline()):
            raise SystemExit(f"{' '.join(arguments[:2])}: the server did not start")
        yield ServerProcess(process.pid, int(port))


def serve(app: ASGIApp) -> None:
    """Serve the app on the loopback interface, and print the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[listener])
