"""A response as httpx2, httpx, requests and Starlette's ``TestClient`` give it, none of which is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast, get_args
from urllib.parse import unquote, urlsplit

from authguard.reasons import Reason, Status
from authguard.records.record import Record, escaped
from authguard.testing.acting import acting
from authguard.testing.recording import LOCK, OPEN, RecordList
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError, is_token


class Response(Protocol):
    """What ``assert_denied`` takes."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Any: ...


class ObservedResponse:
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
        heard = [one for one in reversed(OPEN) if isinstance(one, RecordList)]
    return [record for one in (*acting(), *heard) for record in reversed(one.records)]


def _as_sent(line: str) -> str:
    """The line in UTF-8, as it was sent; some clients read octets as Latin-1."""
    try:
        return line.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return line


#: How many records are shown where none is the one that was looked for.
_SHOWN = 5


def assert_denied(
    response: Response,
    status: int | None = None,
    *,
    reason: Reason | str | None = None,
    challenge: Challenge | str | None = None,
) -> None:
    """Asserts that this is a denial of authguard's, and right on the wire: not to be stored, a 401 with a challenge.

    - ``status``: which.
    - ``reason``: why, ``"role.missing"``. Clients are not told; it is that of the latest denial of this method, path
      and status that ``acting_as`` or ``recording`` has kept, and one of these must be open.
    - ``challenge``: one that must be there: a whole line, or the name of its scheme.

    For responses of httpx2, httpx, requests and ``TestClient``, a ``WebSocketDenialResponse`` too. The
    ``AssertionError`` shows what was recorded: why the request was really denied, or what was granted.
    """
    __tracebackhide__ = True
    seen = ObservedResponse(response)
    faults = list(_on_the_wire(seen, status))
    if challenge is not None:
        faults += _challenge(seen.lines("www-authenticate"), challenge)
    record = seen.record()
    if reason is not None:
        faults += _reason(record, reason.code if isinstance(reason, Reason) else reason)
    if faults:
        raise AssertionError("\n  ".join([f"{seen} was answered with {seen.status}:", *faults, *_recorded(record)]))


def _on_the_wire(seen: ObservedResponse, wanted: int | None) -> Iterator[str]:
    if wanted is not None and seen.status != wanted:
        yield f"{wanted} was expected"
    if seen.status not in get_args(Status):
        yield f"this is no denial; those are {', '.join(map(str, get_args(Status)))}"
        return
    # All that a status implies stands in the table of reasons, and goes by the status.
    row = Reason("of.status", cast("Status", seen.status))
    if not any("no-store" in line for line in seen.lines("cache-control")):
        yield "there is no Cache-Control: no-store, so it is none of authguard's"
    if row.retried and not seen.lines("retry-after"):
        yield "there is no Retry-After"
    challenges = seen.lines("www-authenticate")
    if row.challenges_needed and not challenges:
        yield "there is no challenge (WWW-Authenticate)"
    for line in challenges:
        try:
            Challenge.from_header(line.encode())
        except WireError as error:
            yield f"{line!r} is not one challenge: {error.problem}"
    problem = seen.problem()
    if problem is not None and (problem.get("status"), problem.get("code")) != (row.status, row.public_code):
        yield f"its body is not authguard's: {problem}"


def _challenge(lines: list[str], wanted: Challenge | str) -> Iterator[str]:
    line = wanted if isinstance(wanted, str) else wanted.to_header().decode()
    schemes = [one.partition(" ")[0].lower() for one in lines]
    if line not in lines and not (is_token(line) and line.lower() in schemes):
        yield f"the challenge {line!r} was expected, and there is {' and '.join(map(repr, lines)) or 'none'}"


def _reason(record: Record | None, wanted: str) -> Iterator[str]:
    if record is None:
        yield f"{wanted} was expected, and no record of this denial was kept: have acting_as(guard, ...) or"
        yield "  recording(guard) open round both the request and this assertion, or use their fixtures"
    elif record.reason != wanted:
        yield f"{wanted} was expected"


def _recorded(record: Record | None) -> Iterator[str]:
    for one in kept()[:_SHOWN] if record is None else [record]:
        yield f"recorded: {one}"
