"""HTTP (RFC 9110): the lines that no other test shows, with requests to an app."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import OPTIONAL, AuthGuardMiddleware, Guard, Rule, role, via
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.schemes.basic import basic_scheme, user_pass

RULES = [
    Rule("/admin", role("admin")),
    Rule("/boss", role("boss")),
    Rule("/by", via("basic")),
    Rule("/maybe", OPTIONAL),
]
PATHS = ["/", "/any/deeper", "/admin", "/boss", "/by", "/maybe"]


@pytest.mark.rfc("9110-10")
async def test_credentials_of_a_realm_are_valid_on_all_of_its_paths() -> None:
    """Section 11.5: rules decide on access, never on the validity of credentials, and each 401 names the same realm."""
    app = AuthGuardMiddleware(RecordingApp(), guard=Guard(basic_scheme(), rules=RULES, log=False))
    good, bad = (b"Basic " + user_pass("alice", word) for word in ("wonderland", "wrong"))

    allowed = [(await run_app(app, http_scope(path, headers=header_list(good)))).status for path in PATHS]
    refused = [await run_app(app, http_scope(path, headers=header_list(bad))) for path in PATHS]

    assert allowed == [200, 200, 200, 403, 200, 200]
    assert {(answer.status, *answer.lines(b"www-authenticate")) for answer in refused} == {
        (401, 'Basic realm="orders", charset="UTF-8"')
    }


@pytest.mark.rfc("9110-1", "9110-12")
@pytest.mark.parametrize("own", [{}, {"www-authenticate": "Negotiate"}], ids=["no challenge", "a challenge"])
async def test_the_fields_of_the_app_are_not_changed(own: dict[str, str]) -> None:
    """Sections 11.6.1 and 11.6.2: the app gets the credentials unchanged, and its own 401 is sent as it is."""
    field = b"bASIC  " + user_pass("alice", "wonderland")
    seen: list[str | None] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(request.headers.get("authorization"))
        return PlainTextResponse("once more", 401, own)

    app = AuthGuardMiddleware(Starlette(routes=[Route("/", endpoint)]), guard=Guard(basic_scheme(), log=False))

    answer = await run_app(app, http_scope(headers=header_list(field)))

    assert seen == [field.decode()]
    assert (answer.status, answer.body, answer.lines(b"www-authenticate")) == (401, b"once more", list(own.values()))
