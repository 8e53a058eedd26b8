"""Redirects of the app that lead from https to http, where clients leave ``Authorization`` out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from authguard.asgi import response_warnings
from authguard.asgi.response_warnings import MAX_WARNED, note_redirect
from tests.support.asgi import function_app, header_list, http_scope, run_app
from tests.support.guards import RecordingGuard

WARNING = "GET /orders/ is redirected from https to http, where clients leave Authorization out"


@pytest.fixture(autouse=True)
def _nobody_was_warned() -> Iterator[None]:
    response_warnings._warned.clear()
    yield
    response_warnings._warned.clear()


async def redirect(location: str | None, status: int = 307, proxy: str = "https", **scope: Any) -> None:
    """Send one request through a guard, to an app that answers with this redirect."""
    headers = [] if location is None else [(b"location", location.encode())]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body"})

    fields = header_list("Badge alice", x_forwarded_proto=proxy)
    app = RecordingGuard().wrap(function_app(answer))
    answered = await run_app(app, http_scope("/orders/", headers=fields, **{"scheme": "http", **scope}))
    assert (answered.status, answered.headers) == (status, headers)


async def test_it_is_told_once_for_each_network(caplog: pytest.LogCaptureFixture) -> None:
    """R083: a WARNING says that the redirect leaves https, and what to set. The second one is not told."""
    for _ in range(2):
        await redirect("http://testserver/orders")

    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(WARNING)
    assert "--proxy-headers" in record.getMessage()


@pytest.mark.parametrize(
    ("location", "more"),
    [
        ("https://testserver/orders", {}),
        ("http://elsewhere.example/orders", {}),
        ("http://testserver.evil.example/", {}),
        ("/orders", {}),
        (None, {}),
        ("http://testserver/orders", {"proxy": "http"}),
        ("http://testserver/orders", {"status": 200}),
    ],
)
async def test_other_responses_are_not_told(
    location: str | None, more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A redirect that stays on https, leads elsewhere, or answers a client without TLS is no mistake of the set-up."""
    await redirect(location, **more)

    assert not [record for record in caplog.records if "redirected" in record.getMessage()]


def note(host: str, client: str) -> None:
    """One response that leaves https, to a client with this address that has asked for this host."""
    scope = http_scope(
        "/a/\n", headers=[(b"host", host.encode()), (b"x-forwarded-proto", b"https")], client=(client, 1)
    )
    note_redirect(scope, {"status": 307, "headers": [(b"Location", f"http://{host}/a".encode())]})


def test_a_stranger_spends_no_warning_of_others(caplog: pytest.LogCaptureFixture) -> None:
    """The client chooses the name of the host: whatever names one network sends, it is told once, and so are others."""
    for number in range(MAX_WARNED + 5):
        note(f"host-{number}.example", "203.0.113.7")
    note("api.example", "192.0.2.1")

    assert len(caplog.records) == 2
    assert "GET /a/\\n is" in caplog.records[0].getMessage()


def test_strangers_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """No more than 16 networks are told."""
    for number in range(MAX_WARNED + 5):
        note("api.example", f"203.0.113.{number}")

    assert len(caplog.records) == MAX_WARNED
