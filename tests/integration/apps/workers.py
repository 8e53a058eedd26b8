"""An app whose stores count in each process for itself."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Basic, Digest, DigestAccount, Guard, MemoryDigests, MemoryUsers
from authguard.state import MemoryRevocations

logging.basicConfig()


def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("in")


guard = Guard(
    Basic(MemoryUsers({}), realm="orders"),
    Digest(MemoryDigests([DigestAccount("alice", "0" * 64)], realm="orders"), realm="orders", secret=b"s" * 32),
    revocations=MemoryRevocations(),
)
app = AuthGuardMiddleware(Starlette(routes=[Route("/", page)]), guard=guard)
