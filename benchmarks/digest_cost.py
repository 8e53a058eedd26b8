"""The time of a Digest request, compared with a bare route and with other libraries, each beside its own bare route."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, cast

import flask
import flask_httpauth  # type: ignore[import-untyped]
import quart
import quart_httpauth
from starlette.types import ASGIApp, Message, Scope

from authguard.testing import digest_auth
from benchmarks.material import PASSWORD, USER, Material, make_material
from benchmarks.measure import WARM_UP_CALLS, Sample, measure, spread, target_sample
from benchmarks.paths import PATH, PATHS, REALM, get_request, quiet
from benchmarks.results import PartResult, Progress

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

OURS, BARE = "authguard, Digest, SHA-256", "bare Starlette route"
MINIMAL_SCHEME = "authguard, a minimal scheme of one's own"
FLASK, BARE_FLASK = "Flask-HTTPAuth, Digest, MD5", "bare Flask route"
QUART, BARE_QUART = "quart-httpauth, Digest, MD5", "bare Quart route"
RATIOS = ((OURS, BARE, 3.0), (OURS, MINIMAL_SCHEME, None), (FLASK, BARE_FLASK, None), (QUART, BARE_QUART, None))


class Exchange:
    """One request, as a server passes it to an app. The client disconnects as soon as it has the response."""

    def __init__(self) -> None:
        self.start: Message = {}
        self._messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
        self._complete = asyncio.Event()

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop()
        await self._complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif not message.get("more_body", False):
            self._complete.set()


def scope_with_cookie(authorization: bytes | None, cookie: bytes = b"") -> Scope:
    """The scope of a request with these headers."""
    scope = get_request(authorization)
    return {**scope, "headers": [*scope["headers"], (b"cookie", cookie)]}


async def response_start(app: ASGIApp, authorization: bytes | None, cookie: bytes = b"") -> Message:
    """Send a request, and return the message with the status and the headers of the response."""
    exchange = Exchange()
    await app(scope_with_cookie(authorization, cookie), exchange.receive, exchange.send)
    return exchange.start


def flask_sample(*, guarded: bool) -> Sample:
    """Time one request to Flask, in nanoseconds. Flask-HTTPAuth accepts a header repeatedly, so one is enough."""
    app = flask.Flask("orders")
    app.secret_key = os.urandom(32)
    auth: Any = flask_httpauth.HTTPDigestAuth(realm=REALM)
    auth.get_password({USER: PASSWORD}.get)
    app.route(PATH)(auth.login_required(lambda: "ok") if guarded else lambda: "ok")
    response = app.test_client().get(PATH)
    headers: dict[str, Any] = {}
    if guarded:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        header = digest_auth(response.headers["WWW-Authenticate"], USER, PASSWORD, uri=PATH)["Authorization"]
        headers = {"HTTP_AUTHORIZATION": header, "HTTP_COOKIE": cookie}

    def call(environ: WSGIEnvironment) -> str:
        statuses: list[str] = []

        def start(status: str, *_: object) -> Callable[[bytes], object]:
            statuses.append(status)
            return lambda data: None

        list(app(environ, start))
        return statuses[0]

    def environ() -> WSGIEnvironment:
        return {**app.test_request_context(PATH).request.environ, **headers}

    if (status := call(environ())) != "200 OK":
        raise SystemExit(f"{FLASK}: the status is {status}, expected was 200 OK")

    async def sample() -> int:
        prepared = environ()
        start = perf_counter_ns()
        call(prepared)
        return perf_counter_ns() - start

    return sample


def quart_sample(*, guarded: bool) -> Sample:
    """Time one request to Quart, in nanoseconds. quart-httpauth accepts a header repeatedly, so one is enough."""
    app = quart.Quart("orders")
    app.secret_key = os.urandom(32)
    auth = quart_httpauth.HTTPDigestAuth(realm=REALM)
    auth.get_password({USER: PASSWORD}.get)

    async def endpoint() -> str:
        return "ok"

    app.route(PATH)(auth.login_required(endpoint) if guarded else endpoint)
    asgi_app = cast("ASGIApp", app)
    credentials: list[bytes] = []

    async def sample() -> int:
        if not credentials:
            headers = dict((await response_start(asgi_app, None))["headers"])
            authorization, cookie = b"", b""
            if guarded:
                challenge = headers[b"www-authenticate"].decode()
                authorization = digest_auth(challenge, USER, PASSWORD, uri=PATH)["Authorization"].encode()
                cookie = headers[b"set-cookie"].partition(b";")[0]
            credentials.extend((authorization, cookie))
            if (status := (await response_start(asgi_app, *credentials))["status"]) != 200:
                raise SystemExit(f"{QUART}: the status is {status}, expected was 200")
        scope, exchange = scope_with_cookie(*credentials), Exchange()
        start = perf_counter_ns()
        await asgi_app(scope, exchange.receive, exchange.send)
        return perf_counter_ns() - start

    return sample


async def samples(material: Material, total: int) -> Mapping[str, Sample]:
    """The rows of the table by name. Each is called at most ``total`` times."""
    return {
        BARE: target_sample(await PATHS["floor"].prepare(material, total)),
        MINIMAL_SCHEME: target_sample(await PATHS["minimal"].prepare(material, total)),
        OURS: target_sample(await PATHS["digest"].prepare(material, total)),
        BARE_FLASK: flask_sample(guarded=False),
        FLASK: flask_sample(guarded=True),
        BARE_QUART: quart_sample(guarded=False),
        QUART: quart_sample(guarded=True),
    }


def table(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """Microseconds by row, and the ratio of each row to its bare route."""
    width = max(map(len, figures))
    rows = [f"{'microseconds':{width}}  median   middle half"]
    for name, microseconds in figures.items():
        quartiles = spread(microseconds)
        rows.append(f"{name:{width}}  {quartiles.median:6.1f}  {quartiles.low:5.1f} - {quartiles.high:5.1f}")
    rows += ["", f"{'ratio':{width}}  median   goal   difference in microseconds"]
    for over, under, goal in RATIOS:
        pairs = list(zip(figures[over], figures[under], strict=True))
        ratio = spread([first / second for first, second in pairs])
        difference = spread([first - second for first, second in pairs])
        goal_cell = " " * 7 if goal is None else f"{goal:7.2f}"
        rows.append(f"{over:{width}}  {ratio.median:6.2f}{goal_cell}   {difference.median:6.1f}")
        rows.append(f"  to {under}")
    return rows


async def _measure(rounds: int, calls: int) -> Mapping[str, Sequence[float]]:
    progress = Progress("digests", rounds)
    rows = await samples(make_material(1), rounds * (calls + WARM_UP_CALLS))
    return await measure(rows, rounds=rounds, calls=calls, progress=progress.step)


def digest_cost(*, rounds: int, calls: int) -> PartResult:
    """Measure all rows in this many rounds, with this many timed calls per row and round, and return the table."""
    quiet()
    return PartResult("\n".join(table(asyncio.run(_measure(rounds, calls)))))
