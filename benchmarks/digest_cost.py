"""The time of a Digest request, compared with a bare route and with other libraries; and the memory of a nonce."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, cast

import flask
import flask_httpauth  # type: ignore[import-untyped]
import quart
import quart_httpauth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Scope

from authguard import PUBLIC, AuthGuardMiddleware, Digest, Guard, MemoryDigests, MemoryNonces, Rule
from authguard.testing import digest_auth
from benchmarks.apps import PASSWORD, PATH, USER, minimal_scheme, quiet, starlette
from benchmarks.asgi_requests import request, request_sample
from benchmarks.measure import Sample, measure, spread

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

REALM = "orders"
LIFE = 300.0
OURS, BARE = "authguard, Digest, SHA-256", "bare Starlette route"
MINIMAL_SCHEME = "authguard, a minimal custom scheme"
FLASK, BARE_FLASK = "Flask-HTTPAuth, Digest, MD5", "bare Flask route"
QUART, BARE_QUART = "quart-httpauth, Digest, MD5", "bare Quart route"
RATIOS = ((OURS, BARE, 2.5), (OURS, MINIMAL_SCHEME, None), (FLASK, BARE_FLASK, None), (QUART, BARE_QUART, None))
_BATCH = 100


def guarded() -> Starlette:
    """The app behind Digest."""
    accounts = MemoryDigests.of_cleartext({USER: PASSWORD}, realm=REALM)
    digest = Digest(accounts, realm=REALM, secret=os.urandom(32))
    return starlette(Middleware(AuthGuardMiddleware, guard=Guard(digest, rules=[Rule("/health", PUBLIC)])))


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
    scope = request(authorization)
    return {**scope, "headers": [*scope["headers"], (b"cookie", cookie)]}


async def response_start(app: ASGIApp, authorization: bytes | None, cookie: bytes = b"") -> Message:
    """Send a request, and return the message with the status and the headers of the response."""
    exchange = Exchange()
    await app(scope_with_cookie(authorization, cookie), exchange.receive, exchange.send)
    return exchange.start


def authguard_sample() -> Sample:
    """Time one request to authguard, in nanoseconds. Each request has a new header, because a header is valid once."""
    app = guarded()
    headers: list[bytes] = []

    async def prepare() -> None:
        challenge = dict((await response_start(app, None))["headers"])[b"www-authenticate"].decode()
        # Headers are computed in batches, because computing one before each timed request would evict the app from the
        # caches of the processor.
        batch = (digest_auth(challenge, USER, PASSWORD, uri=PATH, count=count) for count in range(1, _BATCH))
        headers.extend(header["Authorization"].encode() for header in batch)
        if (status := (await response_start(app, headers.pop()))["status"]) != 200:
            raise SystemExit(f"{OURS}: the status is {status}, expected was 200")

    async def sample() -> int:
        if not headers:
            await prepare()
        return await request_sample(app, headers.pop(0))()

    return sample


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


def samples() -> Mapping[str, Sample]:
    """The rows of the table by name."""
    return {
        BARE: request_sample(starlette()),
        MINIMAL_SCHEME: request_sample(minimal_scheme(), b"Minimal credentials"),
        OURS: authguard_sample(),
        BARE_FLASK: flask_sample(guarded=False),
        FLASK: flask_sample(guarded=True),
        BARE_QUART: quart_sample(guarded=False),
        QUART: quart_sample(guarded=True),
    }


def nonce_rows(sizes: Sequence[int]) -> list[str]:
    """The memory of a nonce, and the time of a claim, by the number of nonces in the store."""
    rows = [f"{'nonces in MemoryNonces()':30}  bytes each   microseconds per claim"]
    for size in sizes:
        gc.collect()
        tracemalloc.start()
        memory = MemoryNonces(most=10_000_000)
        memory.begin(0.0)
        for number in range(size):
            now = 1 + number / size
            memory.claim_now(os.urandom(20), 1, minted_at=now, expires_at=now + LIFE, now=now)
        bytes_each = tracemalloc.get_traced_memory()[0] / size
        tracemalloc.stop()
        nonce = os.urandom(20)
        start = time.perf_counter()
        for count in range(1, 10_001):
            memory.claim_now(nonce, count, minted_at=3, expires_at=3 + LIFE, now=3)
        rows.append(f"{size:30,}  {bytes_each:10.0f}   {(time.perf_counter() - start) * 100:10.2f}")
    return rows


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


def digest_cost(*, rounds: int, calls: int, nonces: int) -> str:
    """Measure requests and nonces, and return both tables."""
    quiet()
    figures = asyncio.run(measure(samples(), rounds=rounds, calls=calls))
    return "\n".join([*table(figures), "", *nonce_rows([1000, nonces])])
