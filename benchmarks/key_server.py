"""A key server on the loopback interface that can be told to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from benchmarks.material import KID, mint

DELAY = 2.0
LARGE = 10 * 1024 * 1024
_KEY = rsa.generate_private_key(65537, 2048)
KEY_SET = json.dumps({"keys": [{**RSAAlgorithm.to_jwk(_KEY.public_key(), as_dict=True), "kid": KID}]}).encode()
#: A token that this key has signed.
TOKEN = mint(_KEY, "RS256")


class KeyRequest(BaseHTTPRequestHandler):
    """One request, on its own connection."""

    protocol_version = "HTTP/1.1"

    @property
    def key_server(self) -> KeyServer:
        """The server that received the request."""
        return cast("KeyServer", self.server)

    def do_GET(self) -> None:
        self.close_connection = True
        self.key_server.requests.append(self.path)
        with suppress(ConnectionError):
            BEHAVIOURS[self.key_server.behaviour](self)

    def send_head(self, length: int, *headers: tuple[str, str], status: int = 200) -> None:
        """Send the status and the headers of a response with a body of this length."""
        self.send_response(status)
        for name, value in (("content-length", str(length)), *headers):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the base class
        """Log nothing."""


class KeyServer(ThreadingHTTPServer):
    """Behaves as ``behaviour`` says. ``requests`` holds the path of each request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), KeyRequest)
        self.behaviour = HEALTHY
        self.requests: list[str] = []
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        """The URL of the key set."""
        return f"http://127.0.0.1:{self.server_port}/jwks"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: a client is expected to disconnect while it gets 10 MB."""


@contextmanager
def running_key_server() -> Iterator[KeyServer]:
    """Run a key server that answers at once until its ``behaviour`` is changed."""
    with KeyServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()


def _send_key_set(request: KeyRequest) -> None:
    request.send_head(len(KEY_SET))
    request.wfile.write(KEY_SET)


def _send_key_set_late(request: KeyRequest) -> None:
    if not request.key_server.stopped.wait(DELAY):
        _send_key_set(request)


def _hang(request: KeyRequest) -> None:
    request.key_server.stopped.wait()


def _send_large_body(request: KeyRequest) -> None:
    request.send_head(LARGE)
    chunk = b" " * 65536
    for _ in range(LARGE // len(chunk)):
        request.wfile.write(chunk)


def _send_html(request: KeyRequest) -> None:
    page = b"<!doctype html><title>Maintenance</title><p>We will be back soon."
    request.send_head(len(page), ("content-type", "text/html"))
    request.wfile.write(page)


def _redirect(request: KeyRequest) -> None:
    # The target is this server too, so a client that follows the redirect is counted.
    location = f"http://127.0.0.1:{request.key_server.server_port}/private"
    request.send_head(0, ("location", location), status=302)


def _send_half(request: KeyRequest) -> None:
    request.send_head(len(KEY_SET))
    request.wfile.write(KEY_SET[: len(KEY_SET) // 2])


def _send_empty_set(request: KeyRequest) -> None:
    body = b'{"keys": []}'
    request.send_head(len(body))
    request.wfile.write(body)


HEALTHY, SLOW, HANGING = "healthy", f"after-{DELAY:g}-s", "hanging"
BEHAVIOURS: Mapping[str, Callable[[KeyRequest], None]] = {
    HEALTHY: _send_key_set,
    SLOW: _send_key_set_late,
    HANGING: _hang,
    "10-MB": _send_large_body,
    "HTML": _send_html,
    "redirect": _redirect,
    "truncated": _send_half,
    "empty-set": _send_empty_set,
}
