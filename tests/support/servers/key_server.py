"""A key server on loopback that misbehaves in the way that a test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias, cast

Behaviour: TypeAlias = "Callable[[KeyRequestHandler], None]"


#: The longest time that a test waits, in seconds.
TIMEOUT = 120.0


class KeyRequestHandler(BaseHTTPRequestHandler):
    """Handles one request to a ``KeyServer``."""

    protocol_version = "HTTP/1.1"

    @property
    def key_server(self) -> KeyServer:
        """The server that received the request."""
        return cast("_HTTPServer", self.server).key_server

    def do_GET(self) -> None:
        owner = self.key_server
        owner.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.close_connection = True
        with suppress(ConnectionError):
            owner.pages.get(self.path, owner.behaviour)(self)

    def answer(self, body: bytes, status: int = 200, **fields: str) -> None:
        """Send a whole response. A field's name is written with underscores."""
        self.send_response(status)
        for name, value in {"content_length": str(len(body)), **fields}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
        """Write nothing to the console."""


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, owner: KeyServer) -> None:
        self.key_server = owner
        super().__init__(("127.0.0.1", port), KeyRequestHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that break off: the tests break them on purpose."""


class KeyServer:
    """Serves ``pages`` by path, and runs ``behaviour`` for every other path. It can be stopped and started again."""

    def __init__(self, body: bytes = b"", **fields: str) -> None:
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.pages: dict[str, Behaviour] = {}
        self.behaviour: Behaviour = respond_with(body, 200, **fields)
        self.released = threading.Event()
        self.port = 0
        self.tls: Callable[[Any], Any] | None = None
        self._http_server: _HTTPServer | None = None

    @property
    def url(self) -> str:
        """The URL of the key set."""
        return f"http://127.0.0.1:{self.port}/jwks"

    @property
    def request_count(self) -> int:
        """How many requests have arrived."""
        return len(self.requests)

    def start(self) -> None:
        """Listen, on the same port as before if the server ran already."""
        self._http_server = _HTTPServer(self.port, self)
        self.port = self._http_server.server_port
        if self.tls is not None:
            self._http_server.socket = self.tls(self._http_server.socket)
        threading.Thread(target=self._http_server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and release the requests that hang."""
        self.released.set()
        if self._http_server is not None:
            self._http_server.shutdown()
            self._http_server.server_close()
            self._http_server = None


@contextmanager
def running_key_server(body: bytes = b"", **fields: str) -> Iterator[KeyServer]:
    """A key server that runs until the end of the block."""
    server = KeyServer(body, **fields)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def respond_with(body: bytes, status: int = 200, **fields: str) -> Behaviour:
    """Respond with this body, status and fields."""
    return lambda handler: handler.answer(body, status, **fields)


def hang(handler: KeyRequestHandler) -> None:
    """Send nothing until the test is over."""
    handler.key_server.released.wait(TIMEOUT)


def drip(handler: KeyRequestHandler) -> None:
    """Send one byte now and then, which a time-out between two bytes would not notice."""
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    while not handler.key_server.released.wait(0.02):
        handler.wfile.write(b" ")


def truncate(handler: KeyRequestHandler) -> None:
    """Send less than the content length announces."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"keys": [')


def speak_ssh(handler: KeyRequestHandler) -> None:
    """Send the greeting of another protocol."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")


class Flood:
    """Sends ten megabytes, with or without a content length. ``sent`` counts the bytes that went out."""

    def __init__(self, *, announced: bool) -> None:
        self.announced = announced
        self.sent = 0
        self.over = threading.Event()

    def __call__(self, handler: KeyRequestHandler) -> None:
        total, piece = 10 * 1024 * 1024, b" " * 16384
        handler.send_response(200)
        if self.announced:
            handler.send_header("content-length", str(total))
        handler.end_headers()
        try:
            while self.sent < total:
                self.sent += handler.connection.send(piece)
        finally:
            self.over.set()


OPENID_PATH, OAUTH_PATH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"


def publish_metadata(server: KeyServer, path: str = "") -> str:
    """Serve issuer metadata that name this server, and return the name of the issuer."""
    issuer = f"http://127.0.0.1:{server.port}{path}"
    metadata = {"issuer": issuer, "jwks_uri": server.url, "id_token_signing_alg_values_supported": ["none", "HS256"]}
    server.pages[f"{path}{OPENID_PATH}"] = respond_with(b"not found", 404)
    server.pages[f"{OAUTH_PATH}{path}"] = respond_with(json.dumps(metadata).encode())
    return issuer
