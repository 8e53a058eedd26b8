"""Servers of these tests: one that sends given bytes, ASGI and WSGI apps in a thread, Apache and lighttpd."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import uvicorn

from authguard.probe.echo import serve
from tests.support.servers.ports import free_port

TIMEOUT = 60.0


def program(name: str) -> str | None:
    """The path of a server; Debian puts some where only root's PATH leads."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


@contextmanager
def answering(answer: Callable[[bytes], bytes], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The URL of a server that sends what the function makes of the head of each request, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError), connection:
                    connection.settimeout(TIMEOUT)
                    stream = connection if context is None else context.wrap_socket(connection, server_side=True)
                    with stream:
                        head = b""
                        while b"\r\n\r\n" not in head and (part := stream.recv(65_536)):
                            head += part
                        stream.sendall(answer(head))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http{'' if context is None else 's'}://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)
        listener.close()


def response(status: int, *lines: str, body: str = "") -> bytes:
    """A whole response with these field lines."""
    head = [f"HTTP/1.1 {status} X", *lines, f"Content-Length: {len(body)}", "Connection: close", "", body]
    return "\r\n".join(head).encode("latin-1")


@contextmanager
def serving_asgi(app: Any) -> Iterator[str]:
    """The URL of an ASGI app under uvicorn."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(TIMEOUT)
        listener.close()


@contextmanager
def running_echo(mark: str) -> Iterator[int]:
    """The port of an echo. Its end is that of the probe, which has to come."""
    ports: Queue[int] = Queue()

    def listening(address: str) -> None:
        ports.put(int(address.rpartition(":")[2]))

    def run() -> None:
        asyncio.run(serve(mark, host="127.0.0.1", port=0, listening=listening, lifetime=TIMEOUT))

    thread = threading.Thread(target=run)
    thread.start()
    yield ports.get(timeout=TIMEOUT)
    thread.join(TIMEOUT)
    assert not thread.is_alive()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@contextmanager
def serving_wsgi(app: Any) -> Iterator[str]:
    """The URL of a WSGI app under the server of the standard library."""
    with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(TIMEOUT)


@contextmanager
def home() -> Iterator[Path]:
    """A folder that a server under another user can read."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def wait_for(port: int, is_alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until something listens there."""
    end = time.monotonic() + TIMEOUT
    while is_alive() and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the server does not listen")


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server program, from the moment that it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for(port, lambda: process.poll() is None)
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT)


_APACHE = """\
ServerRoot {folder}
PidFile {folder}/pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/errors
Listen 127.0.0.1:{port}
ServerName localhost
ServerTokens Prod
{modules}
{user}
DocumentRoot {folder}/pages
{configuration}
"""
_MODULES = Path("/usr/lib/apache2/modules")
_APACHE_MODULES = (
    *("mpm_event", "authz_core", "authz_user", "authn_core", "authn_file", "auth_basic", "auth_digest", "headers"),
    *("alias", "dir"),
)


@contextmanager
def running_apache(folder: Path, configuration: str) -> Iterator[str]:
    """The URL of an Apache with this configuration. ``{folder}`` in it is the folder."""
    port = free_port()
    (folder / "pages").mkdir()
    file = folder / "httpd.conf"
    file.write_text(
        _APACHE.format(
            folder=folder,
            port=port,
            modules="\n".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _APACHE_MODULES),
            user="User nobody\nGroup nogroup" if os.geteuid() == 0 else "",
            configuration=configuration.replace("{folder}", str(folder)),
        )
    )
    apache = program("apache2")
    assert apache is not None
    with running([apache, "-f", str(file), "-DFOREGROUND"], port, folder / "output"):
        yield f"http://127.0.0.1:{port}"


_LIGHTTPD = """\
server.document-root = "{folder}"
server.port = {port}
server.bind = "127.0.0.1"
server.errorlog = "{folder}/errors"
server.modules = ("mod_auth", "mod_authn_file", "mod_access")
{configuration}
"""


@contextmanager
def running_lighttpd(folder: Path, configuration: str) -> Iterator[str]:
    """The URL of a lighttpd with this configuration. ``{folder}`` in it is the folder."""
    port = free_port()
    file = folder / "lighttpd.conf"
    file.write_text(
        _LIGHTTPD.format(folder=folder, port=port, configuration=configuration.replace("{folder}", str(folder)))
    )
    lighttpd = program("lighttpd")
    assert lighttpd is not None
    with running([lighttpd, "-D", "-f", str(file)], port, folder / "output"):
        yield f"http://127.0.0.1:{port}"
