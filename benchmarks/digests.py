"""What a Digest request costs, beside its bare route and beside the peers above theirs; and what a nonce keeps."""

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
from benchmarks.apps import PASSWORD, PATH, USER, quiet, starlette, trusting
from benchmarks.measure import Sample, measure, spread
from benchmarks.requests import getting, request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

REALM = "orders"
LIFE = 300.0
OURS, BARE, OWN = "authguard, Digest, SHA-256", "bare Starlette route", "authguard, the least scheme of one's own"
FLASK, BARE_FLASK = "Flask-HTTPAuth, Digest, MD5", "bare Flask route"
QUART, BARE_QUART = "quart-httpauth, Digest, MD5", "bare Quart route"
RATIOS = ((OURS, BARE, 2.5), (OURS, OWN, None), (FLASK, BARE_FLASK, None), (QUART, BARE_QUART, None))
_AT_A_TIME = 100


def guarded() -> Starlette:
    """The app behind Digest."""
    accounts = MemoryDigests.of_cleartext({USER: PASSWORD}, realm=REALM)
    digest = Digest(accounts, realm=REALM, secret=os.urandom(32))
    return starlette(Middleware(AuthGuardMiddleware, guard=Guard(digest, rules=[Rule("/health", PUBLIC)])))


class Exchange:
    """One request as a server hands it out; then the client stays until it has its answer, and leaves."""

    def __init__(self) -> None:
        self.start: Message = {}
        self._messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
        self._answered = asyncio.Event()

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop()
        await self._answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif not message.get("more_body", False):
            self._answered.set()


def asking(sent: bytes | None, cookie: bytes = b"") -> Scope:
    """The scope of a request with these fields."""
    scope = request(sent)
    return {**scope, "headers": [*scope["headers"], (b"cookie", cookie)]}


async def answered(app: ASGIApp, sent: bytes | None, cookie: bytes = b"") -> Message:
    """The beginning of an answer."""
    exchange = Exchange()
    await app(asking(sent, cookie), exchange.receive, exchange.send)
    return exchange.start


def ours() -> Sample:
    """Nanoseconds of one request, each with a header of its own: a response is good once."""
    app = guarded()
    ready: list[bytes] = []

    async def prepare() -> None:
        challenge = dict((await answered(app, None))["headers"])[b"www-authenticate"].decode()
        # Many at a time: what makes them would else have the caches before each request that is timed.
        made = (digest_auth(challenge, USER, PASSWORD, uri=PATH, count=count) for count in range(1, _AT_A_TIME))
        ready.extend(header["Authorization"].encode() for header in made)
        if (status := (await answered(app, ready.pop()))["status"]) != 200:
            raise SystemExit(f"{OURS}: answered {status}, not 200")

    async def sample() -> int:
        if not ready:
            await prepare()
        return await getting(app, ready.pop(0))()

    return sample


def flask_app(*, guarded: bool) -> Sample:
    """Nanoseconds of one request to Flask. Its peer counts nothing, so that one header does for all."""
    app = flask.Flask("orders")
    app.secret_key = os.urandom(32)
    auth: Any = flask_httpauth.HTTPDigestAuth(realm=REALM)
    auth.get_password({USER: PASSWORD}.get)
    app.route(PATH)(auth.login_required(lambda: "ok") if guarded else lambda: "ok")
    response = app.test_client().get(PATH)
    fields: dict[str, Any] = {}
    if guarded:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        header = digest_auth(response.headers["WWW-Authenticate"], USER, PASSWORD, uri=PATH)["Authorization"]
        fields = {"HTTP_AUTHORIZATION": header, "HTTP_COOKIE": cookie}

    def once(environ: WSGIEnvironment) -> str:
        statuses: list[str] = []

        def start(status: str, *_: object) -> Callable[[bytes], object]:
            statuses.append(status)
            return lambda octets: None

        list(app(environ, start))
        return statuses[0]

    def environ() -> WSGIEnvironment:
        return {**app.test_request_context(PATH).request.environ, **fields}

    if (status := once(environ())) != "200 OK":
        raise SystemExit(f"{FLASK}: answered {status}")

    async def sample() -> int:
        made = environ()
        began = perf_counter_ns()
        once(made)
        return perf_counter_ns() - began

    return sample


def quart_app(*, guarded: bool) -> Sample:
    """Nanoseconds of one request to Quart, with one header for all."""
    app = quart.Quart("orders")
    app.secret_key = os.urandom(32)
    auth = quart_httpauth.HTTPDigestAuth(realm=REALM)
    auth.get_password({USER: PASSWORD}.get)

    async def endpoint() -> str:
        return "ok"

    app.route(PATH)(auth.login_required(endpoint) if guarded else endpoint)
    served = cast("ASGIApp", app)
    sent: list[bytes] = []

    async def sample() -> int:
        if not sent:
            start = await answered(served, None)
            headers = dict(start["headers"])
            found = [b"", b""]
            if guarded:
                challenge = headers[b"www-authenticate"].decode()
                header = digest_auth(challenge, USER, PASSWORD, uri=PATH)["Authorization"].encode()
                found = [header, headers[b"set-cookie"].partition(b";")[0]]
            sent.extend(found)
            if (status := (await answered(served, *found))["status"]) != 200:
                raise SystemExit(f"{QUART}: answered {status}, not 200")
        scope, exchange = asking(*sent), Exchange()
        began = perf_counter_ns()
        await served(scope, exchange.receive, exchange.send)
        return perf_counter_ns() - began

    return sample


def samples() -> Mapping[str, Sample]:
    """What is measured, by its name."""
    return {
        BARE: getting(starlette()),
        OWN: getting(trusting(), b"Trusting of-whatever-comes"),
        OURS: ours(),
        BARE_FLASK: flask_app(guarded=False),
        FLASK: flask_app(guarded=True),
        BARE_QUART: quart_app(guarded=False),
        QUART: quart_app(guarded=True),
    }


def nonces(sizes: Sequence[int]) -> list[str]:
    """What a nonce keeps, and what a claim costs, by how many there are."""
    rows = [f"{'nonces in MemoryNonces()':30}  octets each   microseconds of a claim"]
    for size in sizes:
        gc.collect()
        tracemalloc.start()
        memory = MemoryNonces(most=10_000_000)
        memory.begin(0.0)
        for number in range(size):
            now = 1 + number / size
            memory.claim_now(os.urandom(20), 1, minted_at=now, expires_at=now + LIFE, now=now)
        octets = tracemalloc.get_traced_memory()[0] / size
        tracemalloc.stop()
        mine = os.urandom(20)
        began = time.perf_counter()
        for count in range(1, 10_001):
            memory.claim_now(mine, count, minted_at=3, expires_at=3 + LIFE, now=3)
        rows.append(f"{size:30,}  {octets:11.0f}   {(time.perf_counter() - began) * 100:10.2f}")
    return rows


def table(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """Microseconds by row, and each over its own floor."""
    width = max(map(len, figures))
    rows = [f"{'microseconds':{width}}  median   middle half"]
    for name, own in figures.items():
        took = spread(own)
        rows.append(f"{name:{width}}  {took.median:6.1f}  {took.low:5.1f} - {took.high:5.1f}")
    rows += ["", f"{'ratio':{width}}  median   goal   above the floor, microseconds"]
    for over, under, goal in RATIOS:
        pairs = list(zip(figures[over], figures[under], strict=True))
        ratio, above = spread([one / other for one, other in pairs]), spread([one - other for one, other in pairs])
        told = " " * 7 if goal is None else f"{goal:7.2f}"
        rows.append(f"{over:{width}}  {ratio.median:6.2f}{told}   {above.median:6.1f}")
        rows.append(f"  to {under}")
    return rows


def digests(*, rounds: int, calls: int, most: int) -> str:
    """Both tables."""
    quiet()
    figures = asyncio.run(measure(samples(), rounds=rounds, calls=calls))
    return "\n".join([*table(figures), "", *nonces([1000, most])])
