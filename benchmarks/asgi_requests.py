"""Call an app as a server calls it, and time the call."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

from starlette.types import ASGIApp, Message, Scope

from authguard import Rule, role
from authguard.policy.rules import RuleTable
from benchmarks.apps import PATH
from benchmarks.measure import Sample

_LOOKUPS = 20


def bearer(token: bytes) -> bytes:
    """The value of ``Authorization`` for a token."""
    return b"Bearer " + token


def request(authorization: bytes | None) -> Scope:
    """The scope that a server creates for a GET of the route, with this ``Authorization`` header."""
    headers = [
        (b"host", b"orders.example"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"connection", b"keep-alive"),
        (b"user-agent", b"python-httpx2/2.0"),
    ]
    if authorization is not None:
        headers.append((b"authorization", authorization))
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


def request_sample(app: ASGIApp, authorization: bytes | None = None, after: Callable[[], None] | None = None) -> Sample:
    """Time one GET of the route and the call of ``after``, in nanoseconds.

    The scope is created before the clock starts, because creating it is the work of the server.
    """

    async def sample() -> int:
        scope = request(authorization)
        start = perf_counter_ns()
        await app(scope, receive, send)
        if after is not None:
            after()
        return perf_counter_ns() - start

    return sample


def rule_lookup_sample(rules: int) -> Sample:
    """Time one look-up among this many rules, in nanoseconds, for a path that the last rule matches."""
    table = RuleTable([Rule(f"/tenants/t{number}/orders/{{id}}", role("clerk")) for number in range(rules)])
    path = f"/tenants/t{rules - 1}/orders/4711"

    async def sample() -> int:
        # A single look-up is too short for the resolution of the clock.
        start = perf_counter_ns()
        for _ in range(_LOOKUPS):
            table.match("GET", path)
        return (perf_counter_ns() - start) // _LOOKUPS

    return sample


async def status_of(app: ASGIApp, authorization: bytes | None) -> int:
    """The status of the response to one request."""
    statuses: list[int] = []

    async def record_status(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(request(authorization), receive, record_status)
    return statuses[0]
