"""The finding about a CORSMiddleware that hides what scripts of other origins need, and the note of ``explain``."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AUTHENTICATED, AuthGuardMiddleware, Dpop, Guard, Rule
from authguard.audit.audit import audit
from authguard.explain.app import GuardedApp
from authguard.testing import TestIssuer
from tests.docs.refusals import bearer
from tests.support.asgi import RecordingApp, http_scope

DPOP = Dpop(TestIssuer().as_issuer(), realm="orders", public_url="https://api.example", secret="s" * 32)
BOTH = ["WWW-Authenticate", "DPoP-Nonce"]


async def page(request: Request) -> PlainTextResponse:
    """An endpoint."""
    return PlainTextResponse("in")


def guarded(*outside: Middleware, scheme: Any = DPOP, inside: tuple[Middleware, ...] = ()) -> tuple[Starlette, Guard]:
    """An app behind a guard, and these middleware around it."""
    guard = Guard(scheme, rules=[Rule("/**", AUTHENTICATED)])
    own = Middleware(AuthGuardMiddleware, guard=guard)
    return Starlette(routes=[Route("/", page)], middleware=[*outside, own, *inside]), guard


def findings(app: Any, guard: Guard) -> list[str]:
    """The findings about fields that are hidden."""
    return [str(finding) for finding in audit(app, guard).findings if finding.code == "cors.unexposed"]


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        ({}, "WWW-Authenticate and DPoP-Nonce"),
        ({"expose_headers": ["www-authenticate", "X-Own"]}, "DPoP-Nonce"),
        ({"expose_headers": BOTH}, None),
        ({"expose_headers": ["*"]}, None),
        ({"expose_headers": None}, None),
        ({"unknown": 1}, None),
    ],
    ids=["none", "one", "both", "all", "no list", "no option"],
)
@pytest.mark.parametrize("how", ["listed", "partial", "built"])
def test_what_scripts_cannot_read_is_found(options: dict[str, Any], hidden: str | None, how: str) -> None:
    """However the app says that it has the middleware, and whether it has started or not. An app that cannot start with
    it has no finding."""
    made = {"allow_origins": ["https://app.example"], **options}
    outside = Middleware(CORSMiddleware, **made)
    if how == "partial":
        factory: Any = functools.partial(CORSMiddleware, **made)
        outside = Middleware(factory)
    app, guard = guarded(outside)
    served: Any = app
    if how == "built":
        if "unknown" in options or options.get("expose_headers", ()) is None:
            return  # it cannot be built
        app, guard = guarded()
        served = CORSMiddleware(app, **made)

    text = f"cors.unexposed CORSMiddleware: it does not expose {hidden}, so scripts of other origins cannot read that"
    fix = f"Write CORSMiddleware(..., expose_headers={BOTH!r})."
    assert findings(served, guard) == ([] if hidden is None else [f"{text}. {fix}"])


def test_only_what_a_scheme_needs_is_asked_for() -> None:
    """A guard with Bearer alone needs none, and neither does a CORSMiddleware further in, of which start-up warns."""
    cors = Middleware(CORSMiddleware, allow_origins=["*"])

    assert findings(*guarded(cors, Middleware(GZipMiddleware), scheme=bearer())) == []
    assert findings(*guarded(Middleware(GZipMiddleware), inside=(cors,))) == []


@pytest.mark.parametrize(
    ("expose", "fields", "notes"),
    [
        ([], [(b"origin", b"https://app.example")], [f"CORSMiddleware hides {' and '.join(BOTH)} from scripts"]),
        (BOTH, [(b"origin", b"https://app.example")], []),
        ([], [], []),
    ],
    ids=["hidden", "exposed", "not of a script"],
)
async def test_explain_notes_what_a_script_cannot_read(
    expose: list[str], fields: list[tuple[bytes, bytes]], notes: list[str]
) -> None:
    """For a request of a script, with what to write."""
    app, _ = guarded(Middleware(CORSMiddleware, allow_origins=["https://app.example"], expose_headers=expose))

    _, found = await GuardedApp.of(app).prepared(http_scope(headers=fields))

    assert [note.partition(" of other origins")[0] for note in found] == notes
    assert all(f"expose_headers={BOTH!r}" in note for note in found)


async def test_start_up_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is more open by it. A strict app does not start."""
    guard = Guard(DPOP, rules=[Rule("/**", AUTHENTICATED)])
    app = CORSMiddleware(AuthGuardMiddleware(RecordingApp(), guard=guard), allow_origins=["*"])

    assert [finding.opens for finding in audit(app, guard).findings if finding.code == "cors.unexposed"] == [False]
