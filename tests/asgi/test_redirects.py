"""Redirects of the app that lead from https to http, where clients leave ``Authorization`` out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from authguard.asgi import redirects
from authguard.asgi.redirects import MAX_WARNED, note_redirect
from tests.support.asgi import function_app, header_list, http_scope, run_app
from tests.support.guards import RecordingGuard

WARNING = "GET /orders/ is redirected from https to http, where clients leave Authorization out"


@pytest.fixture(autouse=True)
def _nobody_was_warned() -> Iterator[None]:
    redirects._warned.clear()
    yield
    redirects._warned.clear()


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


async def test_it_is_told_once_for_each_host(caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_stranger_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The client chooses the name of the host, so that no more than 16 names are told."""
    for number in range(MAX_WARNED + 5):
        host = f"host-{number}.example"
        headers = [(b"host", host.encode()), (b"x-forwarded-proto", b"https")]
        message = {"status": 307, "headers": [(b"Location", f"http://{host}/a".encode())]}
        note_redirect(http_scope("/a/\n", headers=headers), message)

    assert len(caplog.records) == MAX_WARNED
    assert "GET /a/\\n is" in caplog.records[0].getMessage()
