"""The programs of the cluster: redis-server, and an nginx that gives each request to the next worker."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from examples.tour.server import HOST, ServerDied

#: The programs, and the Debian package of each.
PROGRAMS = {"redis-server": "redis-server", "nginx": "nginx"}
#: Seconds for a program to start or to end.
PATIENCE = 20.0

_NGINX = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr error;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream workers {{
        {workers}
    }}
    server {{
        listen {host}:{port};
        location / {{
            proxy_pass http://workers;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def find(program: str) -> str | None:
    """The path of a program. Debian installs nginx where only root's PATH leads."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def missing() -> list[str]:
    """Those of the programs that are not installed."""
    return [program for program in PROGRAMS if find(program) is None]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=PATIENCE)
    process.kill()
    process.wait()


class RedisServer:
    """A redis-server on one port, which can be killed and started again. It keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server((HOST, 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None  # noqa: S101 - it was started
        return self._process.pid

    @property
    def command(self) -> Sequence[str]:
        """The command that starts it: in memory alone, and what is used may not be thrown away for room."""
        return (
            *("redis-server", "--bind", HOST, "--port", str(self.port), "--save", "", "--appendonly", "no"),
            *("--maxmemory-policy", "noeviction"),
        )

    def start(self) -> None:
        """Start it, and return when it answers. Raises ``ServerDied``."""
        program = find("redis-server")
        assert program is not None  # noqa: S101 - `missing` was asked before
        self._process = subprocess.Popen(  # noqa: S603 - a program that is installed, with fixed arguments
            [program, *self.command[1:]],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerDied(f"redis-server did not start at port {self.port}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64) == b"+PONG\r\n"
        return False

    def kill(self) -> None:
        """End it as a crash does: everything that it knows is gone."""
        assert self._process is not None  # noqa: S101 - it was started
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            _end(self._process)


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A running redis-server, until the ``with`` block ends."""
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.end()


@contextmanager
def nginx(folder: Path, workers: Sequence[int]) -> Iterator[int]:
    """The port of an nginx in front of these ports, until the ``with`` block ends.

    It inherits a listening socket, as from an nginx that it replaces, so the first request waits for it.
    """
    program = find("nginx")
    assert program is not None  # noqa: S101 - `missing` was asked before
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        # Without max_fails, nginx would leave out a worker that answered late.
        upstream = "\n        ".join(f"server {HOST}:{worker} max_fails=0;" for worker in workers)
        configuration = folder / "nginx.conf"
        # The worker of nginx writes to a folder that other users cannot access.
        user = "user root;" if os.geteuid() == 0 else ""
        text = _NGINX.format(user=user, folder=folder, workers=upstream, host=HOST, port=port)
        configuration.write_text(text, "utf-8")
        process = subprocess.Popen(  # noqa: S603 - a program that is installed, with fixed arguments
            [program, "-p", str(folder), "-e", "stderr", "-c", str(configuration)],
            env={**os.environ, "NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        yield port
    finally:
        _end(process)
