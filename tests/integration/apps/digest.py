"""An app behind Digest whose clock can be put forward, and which tells how it answered.

``/later/{seconds}`` and ``/told`` are open to all, so that a client can let its nonce age between two requests.
"""

from __future__ import annotations

import os
import re
import time
from contextvars import ContextVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard import PUBLIC, AuthGuardMiddleware, Digest, Guard, MemoryDigests, Record, Rule
from tests.integration.apps.common import DIGEST_ALGORITHMS, DIGEST_PREFIX, DIGEST_QOP, DIGEST_SECRET

USERS = {"alice": "correct horse", "jürgen": "pässwörd-中文:x"}
REALM = "cameras"
#: What a client took of what was offered to it.
CHOSEN = re.compile(rb'\b(?:algorithm|qop)="?([A-Za-z0-9-]+)')

_later = 0.0
_told: list[list[str]] = []
_why = ContextVar("_why", default="")


def now() -> float:
    """The time, and what was put on it."""
    return time.time() + _later


def hear(record: Record) -> None:
    """What the guard decided, for ``Tell`` to tell with the answer."""
    _why.set("" if record.requirement == str(PUBLIC) else record.reason or "granted")


class Tell:
    """Keeps the target of each request that is not open to all, and how it was answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _why.set("")

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and _why.get():
                fields = dict(message["headers"])
                words = [str(message["status"]), _why.get()]
                words += ["stale"] * (b"stale=true" in fields.get(b"www-authenticate", b""))
                words += ["nextnonce"] * (b"nextnonce=" in fields.get(b"authentication-info", b""))
                target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
                chosen = [found.decode() for found in CHOSEN.findall(dict(scope["headers"]).get(b"authorization", b""))]
                _told.append([target.decode(), " ".join(words), *sorted(chosen)])
            await send(message)

        await self.app(scope, receive, told)


async def later(request: Request) -> JSONResponse:
    """It is so many seconds later from now on."""
    global _later  # noqa: PLW0603 - there is one clock
    _later += request.path_params["seconds"]
    return JSONResponse({"later": _later})


async def told(_request: Request) -> JSONResponse:
    """What was told since this was last asked for."""
    answer = JSONResponse(_told)
    _told.clear()
    return answer


async def mine(request: Request) -> JSONResponse:
    """Who asks, and what was posted."""
    return JSONResponse({"by": request.user.subject, "body": (await request.body()).decode()})


async def moved(request: Request) -> RedirectResponse:
    """Leads elsewhere below ``/mine/``, so many seconds later."""
    await later(request)
    return RedirectResponse("/mine/" + request.path_params["rest"])


def guard() -> Guard:
    """The guard, as the environment wants it."""
    algorithms = os.environ.get(DIGEST_ALGORITHMS, "SHA-256").split()
    digest = Digest(
        MemoryDigests.of_cleartext(USERS, realm=REALM, algorithms=algorithms),
        realm=REALM,
        secret=os.environ[DIGEST_SECRET],
        algorithms=algorithms,
        qop=os.environ.get(DIGEST_QOP, "auth").split(),
        public_prefix=os.environ.get(DIGEST_PREFIX, ""),
        clock=now,
    )
    # The icon too: a browser looks for it when it pleases, and would take up a nonce on the way.
    opened = [Rule(path, PUBLIC) for path in ("/later/{seconds}", "/told", "/favicon.ico")]
    return Guard(digest, rules=opened, clock=now, hooks=[hear])


app = Starlette(
    routes=[
        Route("/later/{seconds:float}", later),
        Route("/told", told),
        Route("/moved/{seconds:float}/{rest:path}", moved),
        Route("/mine/{rest:path}", mine, methods=["GET", "POST"]),
    ]
)
app.add_middleware(AuthGuardMiddleware, guard=guard())
app.add_middleware(Tell)
