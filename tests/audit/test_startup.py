"""The audit at start-up warns of unintended openings; a strict app does not start with a finding."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, ConfigurationError, Guard, Record, Rule
from authguard.fastapi import install
from tests.support.asgi import header_list, http_scope, run_app, websocket_scope
from tests.support.schemes.badge import Badge

CLOSED = Rule("/**", AUTHENTICATED)
WIDE = [Rule("/a/**", PUBLIC), Rule("/b/**", PUBLIC)]


async def page(request: Request) -> PlainTextResponse:
    """An endpoint."""
    return PlainTextResponse("in")


async def talk(socket: WebSocket) -> None:
    """An endpoint over a WebSocket."""
    await socket.accept()


def routes(*paths: str) -> Starlette:
    """An app of pages and a WebSocket."""
    return Starlette(routes=[*(Route(path, page) for path in paths), WebSocketRoute("/a/socket", talk)])


def guarded(app: ASGIApp, *rules: Rule, records: list[Record] | None = None, **options: Any) -> AuthGuardMiddleware:
    """The app behind a guard."""
    hooks = [] if records is None else [records.append]
    return AuthGuardMiddleware(app, guard=Guard(Badge(), rules=rules, hooks=hooks, log=False), **options)


async def lifespan(app: ASGIApp) -> list[Message]:
    """The messages that an app sends at its start and its end."""
    sent, waiting = list[Message](), [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    # A failed start also raises, as in Starlette: a test client sees nothing else.
    try:
        await app({"type": "lifespan"}, receive, send)
    except ConfigurationError as error:
        assert str(error) == sent[-1]["message"]  # noqa: PT017
    return sent


async def test_wide_openings_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It names the routes that each rule reaches.

    It is logged when the app has started, and not again with a request.
    """
    app = guarded(routes("/a", "/a/b", "/b/c"), *WIDE)

    await lifespan(app)
    statuses = [(await run_app(app, http_scope(path))).status for path in ("/a", "/a/b")]

    (record,) = caplog.records
    first, second = record.getMessage().split("\n  ")
    assert statuses == [200, 200]
    assert record.levelno == logging.WARNING
    assert first.startswith("open.wide /a/**: PUBLIC reaches GET /a, GET /a/b, WEBSOCKET /a/socket (")
    assert second.startswith("open.wide /b/**: PUBLIC reaches GET /b/c (")


async def test_without_a_lifespan_the_first_request_logs_the_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once."""
    app = guarded(routes("/a/b"), Rule("/a/b", AUTHENTICATED), WIDE[0])

    for _ in range(3):
        await run_app(app, websocket_scope("/a/b", header_list()))

    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_each_code_has_a_warning_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Open rules above hosts have another fix than wide openings."""
    inner = routes("/a", "/b/c")
    app = guarded(Starlette(routes=[Host("one.example", inner), Host("two.example", inner)]), Rule("/a", PUBLIC), *WIDE)

    await lifespan(app)

    assert [record.getMessage().split()[0] for record in caplog.records] == ["open.hosts", "open.wide"]
    assert "Put a guard inside each host" in caplog.messages[0]


async def test_other_and_accepted_findings_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The audit reports the others."""
    await lifespan(guarded(routes("/a", "/unnamed"), Rule("/gone", PUBLIC)))
    await lifespan(guarded(routes("/a", "/b/c"), *WIDE, ignore=["open.wide"]))
    await lifespan(guarded(routes("/a", "/b/c"), *WIDE, ignore={"open.wide /a/**", "open.wide /b/**"}))

    assert caplog.records == []


async def test_a_strict_app_without_findings_starts() -> None:
    """It serves requests."""
    app = guarded(routes("/a"), CLOSED, Rule("/a", PUBLIC), strict=True)

    sent = await lifespan(app)

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (await run_app(app, http_scope("/a"))).status == 200


async def test_a_strict_app_with_a_finding_does_not_start() -> None:
    """The server gets the finding. The app had started, so it is ended; the server gets no message about that."""
    events: list[str] = []

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        app.add_route("/late", page)
        events.append("started")
        yield
        events.append("ended")

    app = guarded(Starlette(lifespan=living), Rule("/late/**", PUBLIC), strict=True)

    sent = await lifespan(app)

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    first, finding, last = sent[0]["message"].split("\n  ")
    assert first == "authguard: strict=True, and the audit has 1 finding:"
    assert finding.startswith("open.wide /late/**: PUBLIC reaches")
    assert last == 'To accept a finding, pass ignore=["open.wide /late/**"].'
    assert events == ["started", "ended"]


async def test_a_strict_app_with_accepted_findings_starts() -> None:
    """They may be accepted by code, or one by one."""
    app = guarded(routes("/a", "/b/c"), *WIDE, strict=True, ignore=["open.wide /a/**", "open.wide /b/**"])

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.complete"


async def test_a_strict_app_with_findings_and_no_lifespan_denies_every_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rules do not matter. One ERROR has all findings; each request has its record."""
    records: list[Record] = []
    app = guarded(routes("/a", "/b/c"), *WIDE, strict=True, records=records)

    statuses = [
        (await run_app(app, http_scope(path, headers=header_list("Badge alice")))).status
        for path in ("/a", "/b/c", "/x/..")
    ]
    socket = await run_app(app, websocket_scope("/a/socket", header_list()), {"type": "websocket.connect"})

    assert statuses == [503, 503, 503]
    assert [message["type"] for message in socket.sent] == ["websocket.close"]
    (record,) = caplog.records
    assert (record.levelname, record.getMessage().count("\n  open.wide")) == ("ERROR", 2)
    assert {record.reason for record in records} == {"backend.failed"}
    assert {record.facts["problem"] for record in records} == {"strict=True, and the audit has findings"}


async def test_a_server_that_ignores_the_failed_start_gets_denials() -> None:
    """It may not know what a failed start-up means."""
    app = guarded(routes("/a/b"), WIDE[0], strict=True)

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.failed"
    assert (await run_app(app, http_scope("/a/b"))).status == 503


def broken(app: object) -> object:
    """An audit that fails."""
    raise RuntimeError("a secret")


async def test_an_audit_that_fails_refuses_a_strict_app(caplog: pytest.LogCaptureFixture) -> None:
    """An app that is not strict starts, and logs what failed without the text of the error."""
    with patch("authguard.audit.audit.discover_endpoints", broken):
        strict = await lifespan(guarded(routes("/a"), CLOSED, strict=True))
        lax = guarded(routes("/a"), CLOSED)
        started = await lifespan(lax)

    assert strict[0]["type"] == "lifespan.startup.failed"
    assert strict[0]["message"].startswith("strict: the audit failed: error=builtins.RuntimeError frames=[")
    assert started[0]["type"] == "lifespan.startup.complete"
    assert (await run_app(lax, http_scope("/a", headers=header_list("Badge alice")))).status == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a secret" not in caplog.text + strict[0]["message"]


async def test_an_app_that_fails_to_start_by_itself_is_not_audited() -> None:
    """Its own message reaches the server unchanged."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with patch("authguard.audit.audit.discover_endpoints", broken):
        sent = await lifespan(guarded(app, strict=True))

    assert sent == [{"type": "lifespan.startup.failed", "message": "no database"}]


@pytest.mark.parametrize(
    "options", [{"strict": "yes"}, {"strict": ["open.wide"]}, {"ignore": ["open.wild"]}, {"ignore": "open.wide"}]
)
@pytest.mark.parametrize("add", [AuthGuardMiddleware, install])
def test_wrong_options_are_an_error_while_the_app_is_built(add: Callable[..., object], options: dict[str, Any]) -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))}: "):
        add(FastAPI(), guard=Guard(Badge()), **options)


def test_install_passes_strict_and_ignore_on() -> None:
    """A test client learns, as a server does, that the app does not start."""
    app = FastAPI(openapi_url=None)
    app.add_api_route("/a/b", page)
    install(app, Guard(Badge(), rules=[WIDE[0]], log=False), strict=True)
    accepted = FastAPI(openapi_url=None)
    accepted.add_api_route("/a/b", page)
    install(accepted, Guard(Badge(), rules=[WIDE[0]], log=False), strict=True, ignore=["open.wide"])

    with TestClient(accepted) as client:
        assert client.get("/a/b").text == "in"
    with pytest.raises(ConfigurationError, match=r"open\.wide /a/\*\*: PUBLIC reaches"), TestClient(app):
        pass


async def test_a_strict_app_with_an_unmet_ignore_entry_starts() -> None:
    """Only the audit from a shell or a test reports that the accepted finding is gone."""
    app = guarded(routes("/a"), CLOSED, strict=True, ignore=["open.wide /a/**"])

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.complete"
