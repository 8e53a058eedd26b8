"""What is looked at once, at start-up: told where nobody asked, and a refusal where the app is to be strict."""

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
from tests.support.asgi import drive, fields, http, websocket
from tests.support.schemes.badge import Badge

CLOSED = Rule("/**", AUTHENTICATED)
WIDE = [Rule("/a/**", PUBLIC), Rule("/b/**", PUBLIC)]


async def page(request: Request) -> PlainTextResponse:
    """What is served."""
    return PlainTextResponse("in")


async def talk(socket: WebSocket) -> None:
    """The same, over a WebSocket."""
    await socket.accept()


def routes(*paths: str) -> Starlette:
    """An app of pages."""
    return Starlette(routes=[*(Route(path, page) for path in paths), WebSocketRoute("/a/socket", talk)])


def guarded(app: ASGIApp, *rules: Rule, told: list[Record] | None = None, **options: Any) -> AuthGuardMiddleware:
    """The app behind a guard."""
    hooks = [] if told is None else [told.append]
    return AuthGuardMiddleware(app, guard=Guard(Badge(), rules=rules, hooks=hooks, log=False), **options)


async def lifespan(app: ASGIApp) -> list[Message]:
    """What an app says of its start and its end."""
    sent, waiting = list[Message](), [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    # What could not start is raised too, as Starlette does: a test client looks for nothing else.
    try:
        await app({"type": "lifespan"}, receive, send)
    except ConfigurationError as error:
        assert str(error) == sent[-1]["message"]  # noqa: PT017
    return sent


async def test_wide_openings_are_told_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Each with the routes that it reaches, when the app has started, and not again with its requests."""
    app = guarded(routes("/a", "/a/b", "/b/c"), *WIDE)

    await lifespan(app)
    statuses = [(await drive(app, http(path))).status for path in ("/a", "/a/b")]

    (record,) = caplog.records
    first, second = record.getMessage().split("\n  ")
    assert statuses == [200, 200]
    assert record.levelno == logging.WARNING
    assert first.startswith("open.wide /a/**: PUBLIC reaches GET /a, GET /a/b, WEBSOCKET /a/socket (")
    assert second.startswith("open.wide /b/**: PUBLIC reaches GET /b/c (")


async def test_without_a_lifespan_they_are_told_with_the_first_request(caplog: pytest.LogCaptureFixture) -> None:
    """And once."""
    app = guarded(routes("/a/b"), Rule("/a/b", AUTHENTICATED), WIDE[0])

    for _ in range(3):
        await drive(app, websocket("/a/b", fields()))

    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_open_rules_above_hosts_are_told_in_another(caplog: pytest.LogCaptureFixture) -> None:
    """They are of another kind, and have another mend."""
    inner = routes("/a", "/b/c")
    app = guarded(Starlette(routes=[Host("one.example", inner), Host("two.example", inner)]), Rule("/a", PUBLIC), *WIDE)

    await lifespan(app)

    assert [record.getMessage().split()[0] for record in caplog.records] == ["open.hosts", "open.wide"]
    assert "Put a guard inside each host" in caplog.messages[0]


async def test_other_findings_and_accepted_ones_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wants to know them asks the audit."""
    await lifespan(guarded(routes("/a", "/unnamed"), Rule("/gone", PUBLIC)))
    await lifespan(guarded(routes("/a", "/b/c"), *WIDE, ignore=["open.wide"]))
    await lifespan(guarded(routes("/a", "/b/c"), *WIDE, ignore={"open.wide /a/**", "open.wide /b/**"}))

    assert caplog.records == []


async def test_a_strict_app_without_findings_starts() -> None:
    """And serves."""
    app = guarded(routes("/a"), CLOSED, Rule("/a", PUBLIC), strict=True)

    sent = await lifespan(app)

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (await drive(app, http("/a"))).status == 200


async def test_a_strict_app_with_a_finding_does_not_start() -> None:
    """The server is told why. The app has started already, and is ended; of that the server hears nothing."""
    happened: list[str] = []

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        app.add_route("/late", page)
        happened.append("started")
        yield
        happened.append("ended")

    app = guarded(Starlette(lifespan=living), Rule("/late/**", PUBLIC), strict=True)

    sent = await lifespan(app)

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    first, finding, last = sent[0]["message"].split("\n  ")
    assert first == "authguard: strict=True, and the audit has 1 finding:"
    assert finding.startswith("open.wide /late/**: PUBLIC reaches")
    assert last == 'A finding is accepted by ignore=["open.wide /late/**"].'
    assert happened == ["started", "ended"]


async def test_what_is_accepted_does_not_keep_an_app_from_starting() -> None:
    """By code, or one by one."""
    app = guarded(routes("/a", "/b/c"), *WIDE, strict=True, ignore=["open.wide /a/**", "open.wide /b/**"])

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.complete"


async def test_without_a_lifespan_nobody_gets_in(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the rules say. One ERROR tells all findings; each request has its record."""
    told: list[Record] = []
    app = guarded(routes("/a", "/b/c"), *WIDE, strict=True, told=told)

    statuses = [
        (await drive(app, http(path, headers=fields("Badge alice")))).status for path in ("/a", "/b/c", "/x/..")
    ]
    socket = await drive(app, websocket("/a/socket", fields()), {"type": "websocket.connect"})

    assert statuses == [503, 503, 503]
    assert [message["type"] for message in socket.sent] == ["websocket.close"]
    (record,) = caplog.records
    assert (record.levelname, record.getMessage().count("\n  open.wide")) == ("ERROR", 2)
    assert {one.reason for one in told} == {"backend.failed"}
    assert {one.facts["problem"] for one in told} == {"strict=True, and the audit has findings"}


async def test_a_server_that_goes_on_nevertheless_lets_nobody_in() -> None:
    """It may not know what a start-up that has failed means."""
    app = guarded(routes("/a/b"), WIDE[0], strict=True)

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.failed"
    assert (await drive(app, http("/a/b"))).status == 503


def broken(app: object) -> object:
    """An audit that fails."""
    raise RuntimeError("a secret")


async def test_an_audit_that_fails_refuses_a_strict_app(caplog: pytest.LogCaptureFixture) -> None:
    """Any other goes on, and tells what failed, without its text."""
    with patch("authguard.audit.audit.endpoints", broken):
        strict = await lifespan(guarded(routes("/a"), CLOSED, strict=True))
        lax = guarded(routes("/a"), CLOSED)
        started = await lifespan(lax)

    assert strict[0]["type"] == "lifespan.startup.failed"
    assert strict[0]["message"].startswith("strict: the audit failed: error=builtins.RuntimeError frames=[")
    assert started[0]["type"] == "lifespan.startup.complete"
    assert (await drive(lax, http("/a", headers=fields("Badge alice")))).status == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a secret" not in caplog.text + strict[0]["message"]


async def test_an_app_that_fails_to_start_says_so_itself() -> None:
    """What it says goes out as it is, and no audit is made."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with patch("authguard.audit.audit.endpoints", broken):
        sent = await lifespan(guarded(app, strict=True))

    assert sent == [{"type": "lifespan.startup.failed", "message": "no database"}]


@pytest.mark.parametrize(
    "options", [{"strict": "yes"}, {"strict": ["open.wide"]}, {"ignore": ["open.wild"]}, {"ignore": "open.wide"}]
)
@pytest.mark.parametrize("add", [AuthGuardMiddleware, install])
def test_odd_options_are_told_while_the_app_is_built(add: Callable[..., object], options: dict[str, Any]) -> None:
    """With the argument's name."""
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))}: "):
        add(FastAPI(), guard=Guard(Badge()), **options)


def test_install_hands_strictness_on() -> None:
    """A test client, as a server, is told that the app does not start."""
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


async def test_what_is_accepted_and_mended_meanwhile_does_not_keep_an_app_from_starting() -> None:
    """The audit from a shell or a test tells of it."""
    app = guarded(routes("/a"), CLOSED, strict=True, ignore=["open.wide /a/**"])

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.complete"
