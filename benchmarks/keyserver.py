"""A key server on loopback that is told to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from jwt.algorithms import RSAAlgorithm

from benchmarks.tokens import RSA, RSA_KID

LATE = 2.0
LONG = 10 * 1024 * 1024
KEY_SET = json.dumps({"keys": [{**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": RSA_KID}]}).encode()


class Asked(BaseHTTPRequestHandler):
    """One request, on a connection of its own."""

    protocol_version = "HTTP/1.1"

    @property
    def owner(self) -> KeyServer:
        """Who is asked."""
        return cast("KeyServer", self.server)

    def do_GET(self) -> None:
        self.close_connection = True
        self.owner.asked.append(self.path)
        with suppress(ConnectionError):
            BEHAVIOURS[self.owner.behaviour](self)

    def begin(self, length: int, *fields: tuple[str, str], status: int = 200) -> None:
        """The head of an answer of this length."""
        self.send_response(status)
        for name, value in (("content-length", str(length)), *fields):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
        """Says nothing."""


class KeyServer(ThreadingHTTPServer):
    """Does what ``behaviour`` names. ``asked`` has the path of each request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.behaviour = AT_ONCE
        self.asked: list[str] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        """The address of the key set."""
        return f"http://127.0.0.1:{self.server_port}/jwks"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """That somebody hangs up on 10 MB is what is looked for."""


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """One that runs, and answers at once until it is told otherwise."""
    with KeyServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()


def _at_once(asked: Asked) -> None:
    asked.begin(len(KEY_SET))
    asked.wfile.write(KEY_SET)


def _late(asked: Asked) -> None:
    if not asked.owner.over.wait(LATE):
        _at_once(asked)


def _hangs(asked: Asked) -> None:
    asked.owner.over.wait()


def _long(asked: Asked) -> None:
    asked.begin(LONG)
    piece = b" " * 65536
    for _ in range(LONG // len(piece)):
        asked.wfile.write(piece)


def _html(asked: Asked) -> None:
    page = b"<!doctype html><title>Maintenance</title><p>We will be back soon."
    asked.begin(len(page), ("content-type", "text/html"))
    asked.wfile.write(page)


def _redirects(asked: Asked) -> None:
    # To what is private, and yet is here: who follows is counted.
    asked.begin(0, ("location", f"http://127.0.0.1:{asked.owner.server_port}/private"), status=302)


def _truncated(asked: Asked) -> None:
    asked.begin(len(KEY_SET))
    asked.wfile.write(KEY_SET[: len(KEY_SET) // 2])


def _empty(asked: Asked) -> None:
    body = b'{"keys": []}'
    asked.begin(len(body))
    asked.wfile.write(body)


AT_ONCE, AFTER, HANGS = "at-once", f"after-{LATE:g}-s", "hangs"
BEHAVIOURS: Mapping[str, Callable[[Asked], None]] = {
    AT_ONCE: _at_once,
    AFTER: _late,
    HANGS: _hangs,
    "10-MB": _long,
    "HTML": _html,
    "redirect": _redirects,
    "truncated": _truncated,
    "empty-set": _empty,
}
