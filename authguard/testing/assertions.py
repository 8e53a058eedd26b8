"""``assert_denied``: a response is a denial of authguard's, on the wire and in the records.

It reads the responses of httpx2, httpx, requests and Starlette's ``TestClient`` without importing any of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast, get_args
from urllib.parse import unquote, urlsplit

from authguard.reasons import LOGIN_REQUIRED, TOKEN_EXPIRED, Reason, Status
from authguard.records.record import Record, escape
from authguard.testing.acting import acting_blocks
from authguard.testing.record_list import LOCK, OPEN_LISTENERS, RecordList
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError, is_token


class Response(Protocol):
    """What ``assert_denied`` needs of a response."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Any: ...


class ObservedResponse:
    """A response of any client: its status, headers and problem document, and the method and path of its request.

    ``method`` and ``path`` are None if the response does not hold its request.
    """

    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status_code
        try:
            request = getattr(response, "request", None)
        except RuntimeError:  # httpx raises for a response without a request, as to a WebSocket handshake
            request = None
        self.method: str | None = getattr(request, "method", None)
        url = getattr(request, "url", None)
        self.path = None if url is None else escape(unquote(urlsplit(str(url)).path))

    def __str__(self) -> str:
        return f"{self.method or 'a handshake'} {self.path or ''}".strip()

    def lines(self, name: str) -> list[str]:
        """Every field line of this name, not joined."""
        headers = self._response.headers
        raw = getattr(getattr(self._response, "raw", None), "headers", None)  # requests joins lines, urllib3 does not
        getters: tuple[tuple[Any, str], ...] = ((headers, "get_list"), (raw, "getlist"), (headers, "getlist"))
        for holder, method in (*getters, (headers, "getall")):
            get: Callable[[str], list[str]] | None = getattr(holder, method, None)
            if get is not None and name in headers:
                return [_in_utf_8(line) for line in get(name)]
        return [_in_utf_8(headers[name])] if name in headers else []

    def problem(self) -> dict[str, object] | None:
        """The problem document; None if there is none: ``render`` may replace it, and HEAD has no body."""
        media_type = "".join(self.lines("content-type")).partition(";")[0]
        try:
            body = getattr(self._response, "content", b"")
        except RuntimeError:  # httpx raises for a stream that has not been read
            body = b""
        if media_type != "application/problem+json" or not body:
            return None
        document = json.loads(body)
        return document if isinstance(document, dict) else {}

    def record(self) -> Record | None:
        """The latest record of this denial. A record of the same path comes before one of a path below a mount."""
        candidates = [
            record
            for record in kept_records()
            if record.status == self.status and self.method in {None, record.method, record.facts.get("method_sent")}
        ]
        below = (record for record in candidates if len(record.path) > 1 and (self.path or "").endswith(record.path))
        return next((record for record in candidates if self.path in {None, record.path}), next(below, None))


def kept_records() -> list[Record]:
    """The records that open blocks have kept: those of ``acting_as`` in this context, then those of ``recording``.

    Of each block the latest record comes first.
    """
    with LOCK:
        lists = [listener for listener in reversed(OPEN_LISTENERS) if isinstance(listener, RecordList)]
    return [record for listener in (*acting_blocks(), *lists) for record in reversed(listener.records)]


def _in_utf_8(line: str) -> str:
    """The line as it was sent, in UTF-8: some clients decode bytes as Latin-1."""
    try:
        return line.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return line


#: How many records a failure shows if none of them is of the response.
_MAX_SHOWN = 5


def assert_denied(
    response: Response,
    status: int | None = None,
    *,
    reason: Reason | str | None = None,
    challenge: Challenge | str | None = None,
) -> None:
    """Assert that a response is a denial of authguard's and correct on the wire: ``no-store``, a 401 with a challenge.

    - ``status``: the expected status; any denial passes without it.
    - ``reason``: the expected reason, ``"role.missing"``. A response does not hold it, so it is read from the latest
      record of this method, path and status. ``acting_as`` or ``recording`` keeps records, and one must be open.
    - ``challenge``: a challenge that must be there: the whole field line, or the name of its scheme.

    The response may come from httpx2, httpx, requests or ``TestClient``, and may be a ``WebSocketDenialResponse``. The
    ``AssertionError`` shows what was recorded: why the request was denied, or what was granted.
    """
    __tracebackhide__ = True
    observed = ObservedResponse(response)
    problems = list(_wire_problems(observed, status, reason if isinstance(reason, Reason) else None))
    if challenge is not None:
        problems += _challenge_problems(observed.lines("www-authenticate"), challenge)
    record = observed.record()
    if reason is not None:
        problems += _reason_problems(record, reason.code if isinstance(reason, Reason) else reason)
    if problems:
        head = f"{observed} was answered with {observed.status}:"
        raise AssertionError("\n  ".join([head, *problems, *_recorded(record)]))


def _wire_problems(response: ObservedResponse, expected: int | None, own: Reason | None) -> Iterator[str]:
    if expected is not None and response.status != expected:
        yield f"expected {expected}"
    if response.status not in get_args(Status):
        yield f"this is not a denial; a denial is one of {', '.join(map(str, get_args(Status)))}"
        return
    # The table of reasons holds all that a status implies, by the status alone. A few have a code of their own.
    is_login = response.status == LOGIN_REQUIRED.status
    row = LOGIN_REQUIRED if is_login else Reason("of.status", cast("Status", response.status))
    codes = {one.public_code for one in (row, TOKEN_EXPIRED, own or row)}
    if not any("no-store" in line for line in response.lines("cache-control")):
        yield "there is no Cache-Control: no-store, so the response is not authguard's"
    if row.retried and not response.lines("retry-after"):
        yield "there is no Retry-After"
    challenges = response.lines("www-authenticate")
    if row.challenges_needed and not challenges:
        yield "there is no challenge (WWW-Authenticate)"
    for line in challenges:
        try:
            Challenge.from_header(line.encode())
        except WireError as error:
            yield f"{line!r} is not one challenge: {error.problem}"
    problem = response.problem()
    if problem is not None and (problem.get("status") != row.status or problem.get("code") not in codes):
        yield f"its body is not authguard's: {problem}"


def _challenge_problems(lines: list[str], expected: Challenge | str) -> Iterator[str]:
    line = expected if isinstance(expected, str) else expected.to_header().decode()
    schemes = [other.partition(" ")[0].lower() for other in lines]
    if line not in lines and not (is_token(line) and line.lower() in schemes):
        yield f"expected the challenge {line!r}, found {' and '.join(map(repr, lines)) or 'none'}"


def _reason_problems(record: Record | None, expected: str) -> Iterator[str]:
    if record is None:
        yield f"expected {expected}, and no record of this denial was kept: keep acting_as(guard, ...) or"
        yield "  recording(guard) open around both the request and this assertion, or use their fixtures"
    elif record.reason != expected:
        yield f"expected {expected}"


def _recorded(record: Record | None) -> Iterator[str]:
    for shown in kept_records()[:_MAX_SHOWN] if record is None else [record]:
        yield f"recorded: {shown}"
