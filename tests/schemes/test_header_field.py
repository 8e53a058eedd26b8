"""Bearer tokens in a field that a proxy sets, such as Cloudflare Access and service meshes do."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Header, ProtectedResource, Rule, role, via
from authguard.openapi import Operation, describe
from tests.support.asgi import Exchange, http_scope, run_app
from tests.support.guards import OPTIONAL_RULES, RecordingGuard
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import mint

HEADER = "Cf-Access-Jwt-Assertion"
FIELD = Header(HEADER, sent_by_browsers=True)
CHALLENGE = f'HeaderToken realm="orders", header="{HEADER}"'


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def ask(guard: RecordingGuard, *fields: tuple[str, str], path: str = "/", method: str = "GET") -> Exchange:
    """The response to a request with these fields."""
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    return await run_app(guard.wrap(app), http_scope(path, headers=headers, method=method))


def challenges(exchange: Exchange) -> list[str]:
    """The challenges of a response."""
    return [value.decode() for name, value in exchange.headers if name == b"www-authenticate"]


async def test_a_token_is_read_from_the_field() -> None:
    """R064: ``carrier=`` names the field, and the ``Authorization`` field is not read."""
    guard = RecordingGuard(bearer(carrier=FIELD))

    assert (await ask(guard, (HEADER, mint()))).status == 200
    assert (await ask(guard, (HEADER, f"  {mint()} "))).status == 200
    assert (await ask(guard, ("Authorization", f"Bearer {mint()}"))).status == 401
    assert [(record.scheme, record.subject) for record in guard.records][:1] == [("bearer", "alice")]


async def test_the_challenge_fits() -> None:
    """R064: no client can answer ``Bearer`` in such a field, so the challenge names the field, and the error."""
    guard = RecordingGuard(bearer(carrier=FIELD), rules=[Rule("/a", role("root"))])

    assert challenges(await ask(guard)) == [CHALLENGE]
    assert challenges(await ask(guard, (HEADER, ""))) == [CHALLENGE]
    assert challenges(await ask(guard, (HEADER, mint(aud="other")))) == [f'{CHALLENGE}, error="invalid_token"']
    assert challenges(await ask(guard, (HEADER, mint()), path="/a")) == [f'{CHALLENGE}, error="insufficient_scope"']
    assert [record.reason for record in guard.records] == [
        "credentials.missing",
        "credentials.missing",
        "token.audience_mismatch",
        "role.missing",
    ]


async def test_the_field_is_as_ambient_as_a_cookie() -> None:
    """R064: the proxy adds the field to what another site's page made the browser send."""
    guard = RecordingGuard(bearer(carrier=FIELD))
    foreign = ("Sec-Fetch-Site", "cross-site")

    assert (await ask(guard, (HEADER, mint()), foreign, method="POST")).status == 403
    assert (await ask(guard, (HEADER, mint()), foreign)).status == 200
    assert (await ask(guard, (HEADER, mint()), method="POST")).status == 200
    assert guard.records[0].reason == "origin.foreign"


async def test_explicit_credentials_go_before_the_field() -> None:
    """R064: a client behind the proxy that sends a token of its own is known by that one."""
    guard = RecordingGuard(
        bearer(carrier=FIELD, name="edge"), bearer(issuer(name="https://api.example/"), realm="api", name="api")
    )
    own = ("Authorization", f"Bearer {mint(iss='https://api.example/', sub='bob')}")

    assert (await ask(guard, (HEADER, mint()), own)).status == 200
    assert (await ask(guard, (HEADER, mint()))).status == 200
    assert [(record.scheme, record.subject) for record in guard.records] == [("api", "bob"), ("edge", "alice")]


async def test_a_field_that_the_route_does_not_use_is_not_read() -> None:
    """R064: where a route accepts another scheme alone, the field of the proxy does not matter."""
    guard = RecordingGuard(bearer(carrier=FIELD, name="edge"), bearer(name="api"), rules=[Rule("/api", via("api"))])

    assert (await ask(guard, (HEADER, "x"), path="/api")).status == 401
    assert guard.records[-1].reason == "credentials.missing"


async def test_two_fields_and_long_ones_are_refused() -> None:
    """R064: two lines are ambiguous, and the limit of a token holds."""
    guard = RecordingGuard(bearer(carrier=FIELD))
    token = (HEADER, mint())

    assert (await ask(guard, token, token)).status == 400
    assert (await ask(guard, (HEADER, "a" * 9000))).status == 401
    assert (await ask(guard, (HEADER, "a" * 20000))).status == 400
    assert [record.reason for record in guard.records] == [
        "credentials.ambiguous",
        "token.too_long",
        "header.too_long",
    ]
    longer = RecordingGuard(bearer(carrier=FIELD, limit=65536))
    assert (await ask(longer, (HEADER, mint(more="x" * 20000)))).status == 200


async def test_an_optional_login_by_the_field() -> None:
    """R064: without the field an OPTIONAL route is anonymous, and with a wrong token it is 401."""
    guard = RecordingGuard(bearer(carrier=FIELD), rules=OPTIONAL_RULES)

    assert (await ask(guard)).status == 200
    assert (await ask(guard, (HEADER, "x"))).status == 401
    assert (await ask(guard, (HEADER, mint()))).status == 200


def test_openapi_names_the_field() -> None:
    """R064: in OpenAPI a token in a field of its own is an ``apiKey`` in that header."""
    guard = RecordingGuard(bearer(carrier=FIELD, name="edge")).guard
    operations = [Operation("/a", "GET", [guard.table.default.requirement])]
    described = describe({"openapi": "3.1.0", "paths": {"/a": {"get": {}}}}, operations, guard)

    assert described["components"]["securitySchemes"] == {"edge": {"type": "apiKey", "in": "header", "name": HEADER}}


@pytest.mark.parametrize("header", ["", "Authorization", "cookie", "a b", "é", 5, "Host"])
def test_a_header_has_no_other_meaning(header: Any) -> None:
    """R064: a field with another meaning, and what is no name of a field, raise."""
    with pytest.raises(ConfigurationError, match=r"^name: .* is not a field for credentials of its own"):
        Header(header)


def test_a_resource_needs_the_authorization_field() -> None:
    """R064: clients that find the metadata of RFC 9728 send ``Authorization``."""
    resource = ProtectedResource("https://api.example/")
    with pytest.raises(ConfigurationError, match=r"^resource: .* send Authorization"):
        bearer(carrier=FIELD, resource=resource)
