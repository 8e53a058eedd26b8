"""What a response must be to be a denial of authguard's, and why it was one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, get_args

from authguard.reasons import Reason, Status
from authguard.record import Record
from authguard.testing.seen import Response, Seen, kept
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError, is_token

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
    seen = Seen(response)
    faults = list(_on_the_wire(seen, status))
    if challenge is not None:
        faults += _challenge(seen.lines("www-authenticate"), challenge)
    record = seen.record()
    if reason is not None:
        faults += _reason(record, reason.code if isinstance(reason, Reason) else reason)
    if faults:
        raise AssertionError("\n  ".join([f"{seen} was answered with {seen.status}:", *faults, *_recorded(record)]))


def _on_the_wire(seen: Seen, wanted: int | None) -> Iterator[str]:
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
