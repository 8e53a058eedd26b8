"""One request, made as a server makes it, and how long the answer takes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

from starlette.types import ASGIApp, Message, Scope

from authguard import Rule, role
from authguard.policy.rules import RuleTable
from benchmarks.apps import PATH
from benchmarks.measure import Sample

_LOOK_UPS = 20


def bearing(token: bytes) -> bytes:
    """The value of ``Authorization`` for a token."""
    return b"Bearer " + token


def request(sent: bytes | None) -> Scope:
    """A scope as a server makes it for a GET of the route, with this in ``Authorization``."""
    headers = [
        (b"host", b"orders.example"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"connection", b"keep-alive"),
        (b"user-agent", b"python-httpx2/2.0"),
    ]
    if sent is not None:
        headers.append((b"authorization", sent))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", 80),
        "state": {},
    }


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    pass


def getting(app: ASGIApp, sent: bytes | None = None, after: Callable[[], None] | None = None) -> Sample:
    """Nanoseconds of one GET of the route, and of what is called ``after`` it.

    The scope is made before the clock runs, for making it is the server's work.
    """

    async def sample() -> int:
        scope = request(sent)
        began = perf_counter_ns()
        await app(scope, receive, send)
        if after is not None:
            after()
        return perf_counter_ns() - began

    return sample


def looking_up(rules: int) -> Sample:
    """Nanoseconds of one look-up among so many rules, of a path that the last of them matches."""
    table = RuleTable([Rule(f"/tenants/t{number}/orders/{{id}}", role("clerk")) for number in range(rules)])
    path = f"/tenants/t{rules - 1}/orders/4711"

    async def sample() -> int:
        # One look-up is too short for the clock.
        began = perf_counter_ns()
        for _ in range(_LOOK_UPS):
            table.match("GET", path)
        return (perf_counter_ns() - began) // _LOOK_UPS

    return sample


async def status_of(app: ASGIApp, sent: bytes | None) -> int:
    """What the app answers."""
    seen: list[int] = []

    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])

    await app(request(sent), receive, note)
    return seen[0]
