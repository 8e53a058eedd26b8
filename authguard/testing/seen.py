"""A response as httpx2, httpx, requests and Starlette's ``TestClient`` give it, none of which is imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from authguard.record import Record, escaped
from authguard.testing.acting import acting
from authguard.testing.recorded import LOCK, OPEN, Recorded


class Response(Protocol):
    """What ``assert_denied`` takes."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Any: ...


class Seen:
    """What came back, and what was asked: ``method`` and ``path`` are None where the response does not tell."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status_code
        try:
            request = getattr(response, "request", None)
        except RuntimeError:  # httpx, of a response that was made without one: that of a WebSocket handshake
            request = None
        self.method: str | None = getattr(request, "method", None)
        url = getattr(request, "url", None)
        self.path = None if url is None else escaped(unquote(urlsplit(str(url)).path))

    def __str__(self) -> str:
        return f"{self.method or 'a handshake'} {self.path or ''}".strip()

    def lines(self, name: str) -> list[str]:
        """Every field line of this name, unjoined."""
        headers = self._response.headers
        raw = getattr(getattr(self._response, "raw", None), "headers", None)  # requests joins them, urllib3 does not
        kept: tuple[tuple[Any, str], ...] = ((headers, "get_list"), (raw, "getlist"), (headers, "getlist"))
        for holder, method in (*kept, (headers, "getall")):
            get: Callable[[str], list[str]] | None = getattr(holder, method, None)
            if get is not None and name in headers:
                return [_as_sent(line) for line in get(name)]
        return [_as_sent(headers[name])] if name in headers else []

    def problem(self) -> dict[str, object] | None:
        """The problem document; None where there is none, for ``render`` may replace it and HEAD has no body."""
        media_type = "".join(self.lines("content-type")).partition(";")[0]
        try:
            body = getattr(self._response, "content", b"")
        except RuntimeError:  # httpx, of a stream that nobody has read
            body = b""
        if media_type != "application/problem+json" or not body:
            return None
        told = json.loads(body)
        return told if isinstance(told, dict) else {}

    def record(self) -> Record | None:
        """The latest record of this denial; one whose path is a mount's comes after one of this very path."""
        found = [record for record in kept() if record.status == self.status and self.method in {None, record.method}]
        below = (record for record in found if len(record.path) > 1 and (self.path or "").endswith(record.path))
        return next((record for record in found if self.path in {None, record.path}), next(below, None))


def kept() -> list[Record]:
    """What is recorded for who calls this, the latest first: of what acts here, then of whatever asked."""
    with LOCK:
        heard = [one for one in reversed(OPEN) if isinstance(one, Recorded)]
    return [record for one in (*acting(), *heard) for record in reversed(one.records)]


def _as_sent(line: str) -> str:
    """The line in UTF-8, as it was sent; some clients read octets as Latin-1."""
    try:
        return line.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return line
