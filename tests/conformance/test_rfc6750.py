"""Bearer tokens (RFC 6750): the lines that no other test shows, with requests to an app."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from authguard import AuthGuardMiddleware, Guard, Record
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.mark.rfc("6750-2")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("place", ["query", "form"])
async def test_a_token_in_the_query_or_in_a_form_is_none(place: str, method: str) -> None:
    """Sections 2.2 and 2.3: a valid token there counts as no credentials, and the body is not read."""
    records: list[Record] = []
    app = AuthGuardMiddleware(
        RecordingApp(), guard=Guard(bearer(), clock=lambda: NOW, hooks=[records.append], log=False)
    )
    stated = f"access_token={quote(mint())}".encode()
    scope = http_scope("/", method, [*header_list(), FORM], query_string=stated if place == "query" else b"")

    answer = await run_app(app, scope, {"type": "http.request", "body": stated if place == "form" else b""})

    assert (answer.status, answer.lines(b"www-authenticate"), answer.received) == (401, ['Bearer realm="orders"'], 0)
    assert [record.reason for record in records] == ["credentials.missing"]


@pytest.mark.rfc("6750-3")
async def test_a_parameter_of_that_name_is_the_apps_own() -> None:
    """A query parameter ``access_token`` carries no credentials, and reaches the app unchanged."""
    guard = RecordingApp()
    app = AuthGuardMiddleware(guard, guard=Guard(bearer(), clock=lambda: NOW, log=False))

    answer = await run_app(app, http_scope(headers=header_list(f"Bearer {mint()}"), query_string=b"access_token=abc"))

    assert answer.status == 200
    assert [scope["query_string"] for scope in guard.scopes] == [b"access_token=abc"]
