"""An app behind Digest whose clock can be moved forward, and which records its responses.

``/advance/{seconds}`` and ``/records`` are public, so that a client's nonce can age between two requests.
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
#: The algorithm and the qop that a client chose.
CHOSEN = re.compile(rb'\b(?:algorithm|qop)="?([A-Za-z0-9-]+)')

_advanced = 0.0
_records: list[list[str]] = []
_outcome = ContextVar("_why", default="")


def now() -> float:
    """The real time, plus what was added to it."""
    return time.time() + _advanced


def keep_decision(record: Record) -> None:
    """Keep the decision of the guard for ``ResponseRecorder``."""
    _outcome.set("" if record.requirement == str(PUBLIC) else record.reason or "granted")


class ResponseRecorder:
    """A middleware that records the target of each request that is not public, and its response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _outcome.set("")

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and _outcome.get():
                fields = dict(message["headers"])
                words = [str(message["status"]), _outcome.get()]
                words += ["stale"] * (b"stale=true" in fields.get(b"www-authenticate", b""))
                words += ["nextnonce"] * (b"nextnonce=" in fields.get(b"authentication-info", b""))
                target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
                chosen = [match.decode() for match in CHOSEN.findall(dict(scope["headers"]).get(b"authorization", b""))]
                _records.append([target.decode(), " ".join(words), *sorted(chosen)])
            await send(message)

        await self.app(scope, receive, told)


async def advance(request: Request) -> JSONResponse:
    """Move the clock forward."""
    global _advanced  # noqa: PLW0603 - there is one clock
    _advanced += request.path_params["seconds"]
    return JSONResponse({"later": _advanced})


async def records(_request: Request) -> JSONResponse:
    """The records since the last call."""
    answer = JSONResponse(_records)
    _records.clear()
    return answer


async def mine(request: Request) -> JSONResponse:
    """Answer with the caller and the request body."""
    return JSONResponse({"by": request.user.subject, "body": (await request.body()).decode()})


async def moved(request: Request) -> RedirectResponse:
    """Move the clock forward, and redirect to a path below ``/mine/``."""
    await advance(request)
    return RedirectResponse("/mine/" + request.path_params["rest"])


def guard() -> Guard:
    """The guard, with the settings from the environment."""
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
    # The icon is public too, because a browser requests it at any time, and would use a nonce for it.
    opened = [Rule(path, PUBLIC) for path in ("/advance/{seconds}", "/records", "/favicon.ico")]
    return Guard(digest, rules=opened, clock=now, hooks=[keep_decision])


app = Starlette(
    routes=[
        Route("/advance/{seconds:float}", advance),
        Route("/records", records),
        Route("/moved/{seconds:float}/{rest:path}", moved),
        Route("/mine/{rest:path}", mine, methods=["GET", "POST"]),
    ]
)
app.add_middleware(AuthGuardMiddleware, guard=guard())
app.add_middleware(ResponseRecorder)
