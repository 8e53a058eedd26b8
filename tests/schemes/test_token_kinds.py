"""Of what kind a token is: what its header says, and what its claims say."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import Bearer, ConfigurationError, Rejected
from tests.support.schemes.bearer import (
    accepted_principal,
    bearer,
    bearer_credentials,
    bearer_request,
    issuer,
    rejection,
    signed_token,
)
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, active_response, introspection
from tests.support.tokens import claims

ID_TOKENS = [("typ", "ID"), ("typ", "id"), ("token_use", "id"), ("token_type", "id_token"), ("type", "IdToken")]
REFRESH_TOKENS = [
    ("typ", "Refresh"),
    ("typ", "Offline"),
    ("typ", "Logout"),
    ("token_use", "refresh"),
    ("token_type", "refresh"),
    ("type", "refresh_token"),
]
ACCESS_TOKENS = [("typ", "Bearer"), ("typ", "JWT"), ("token_use", "access"), ("token_type", "access"), ("type", 5)]


def token_of(name: str, kind: Any) -> str:
    """A token that calls itself this in this claim."""
    return signed_token(payload=claims(**{name: kind}))


@pytest.mark.parametrize(("name", "kind"), ID_TOKENS + REFRESH_TOKENS)
def test_a_token_that_says_that_it_is_none_for_an_api_is_refused(name: str, kind: str) -> None:
    """R044: an ID token and a refresh token whose audience fits are refused where a claim says what they are."""
    expected = ("token.type_refused", {"claim": name, "typ": kind, "wanted": "an access token"})
    scheme = bearer()

    assert [rejection(scheme, token_of(name, kind)) for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize(("name", "kind"), ACCESS_TOKENS)
def test_a_token_that_says_that_it_is_an_access_token_is_accepted(name: str, kind: Any) -> None:
    """R044: the same claims with any other value say nothing against a token."""
    assert accepted_principal(bearer(), token_of(name, kind)).subject == "alice"


@pytest.mark.parametrize(("name", "kind"), ID_TOKENS)
def test_an_id_token_is_accepted_by_name(name: str, kind: str) -> None:
    """R044: apps that are given ID tokens write ``id_tokens=True``."""
    assert accepted_principal(bearer(issuer(id_tokens=True)), token_of(name, kind)).subject == "alice"


@pytest.mark.parametrize(("name", "kind"), REFRESH_TOKENS)
def test_a_refresh_token_is_never_accepted(name: str, kind: str) -> None:
    """R044: no option accepts a refresh token, which is for the authorization server alone."""
    assert rejection(bearer(issuer(id_tokens=True)), token_of(name, kind))[0] == "token.type_refused"


async def test_an_introspected_token_says_what_it_is_too() -> None:
    """R044: a server that says "active" about a refresh token says what it is, and the token is refused."""
    codes = []
    for kind, options in (("Refresh", {}), ("ID", {}), ("ID", {"id_tokens": True}), ("Bearer", {})):
        server = IntrospectionServer(active_response(typ=kind))
        scheme = Bearer(introspection(server, **options), realm="orders")
        result = await scheme.authenticate(bearer_request(), bearer_credentials(OPAQUE_TOKEN))
        codes.append(result.reason.code if isinstance(result, Rejected) else None)

    assert codes == ["token.type_refused", "token.type_refused", None, None]


def test_id_tokens_are_switched_on_by_a_flag() -> None:
    """A value that only counts as True raises."""
    with pytest.raises(ConfigurationError, match=r"^id_tokens: 1 is neither"):
        issuer(id_tokens=1)


# --- the header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typ", ["JOSE", "jose", "application/JOSE"])
def test_several_types_are_accepted_by_name(typ: str) -> None:
    """R014: a list of types is exactly what is accepted, and None in it is no type."""
    scheme = bearer(issuer(typ=["JWT", "JOSE", None]))

    assert accepted_principal(scheme, signed_token({"typ": typ})).subject == "alice"
    assert accepted_principal(scheme, signed_token({})).subject == "alice"
    assert rejection(scheme, signed_token({"typ": "at+jwt"})) == (
        "token.type_refused",
        {"typ": "at+jwt", "wanted": "jose or jwt or no type"},
    )


def test_a_type_may_be_forbidden_by_a_list() -> None:
    """A list without None refuses tokens without a type; a list of one is that one."""
    assert rejection(bearer(issuer(typ=["JOSE", "JWT"])), signed_token({}))[0] == "token.type_refused"
    assert rejection(bearer(issuer(typ=[None])), signed_token({"typ": "JWT"}))[0] == "token.type_refused"
    assert issuer(typ=["AT+JWT"]).typ == "at+jwt"
    assert rejection(bearer(issuer(typ=["AT+JWT"])), signed_token({"typ": "at+jwt"}))[0] == "token.claim_missing"


@pytest.mark.parametrize("typ", ["", [], 5, ["JWT", 5], [""]])
def test_a_type_is_a_text(typ: Any) -> None:
    """Anything else than types raises while the app is built."""
    with pytest.raises(ConfigurationError, match=r"^typ: .* is not a type"):
        issuer(typ=typ)
