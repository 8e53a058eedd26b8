"""``Issuer.auth0``: access tokens in both profiles of Auth0, as its page "Access Token Profiles" shows them."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Issuer, claim
from tests.support.providers import KEYS, TIMES, accepted, options, refused

API = "https://example.com/health-api"
AUTH0_PROFILE = {
    "iss": "https://my-domain.eu.auth0.com/",
    "sub": "auth0|123456",
    "aud": [API, "https://my-domain.eu.auth0.com/userinfo"],
    "azp": "my_client_id",
    "scope": "openid profile read:patients",
    "permissions": ["read:patients", "delete:patients"],
    **TIMES,
}
RFC_9068_PROFILE = {
    **{name: value for name, value in AUTH0_PROFILE.items() if name != "azp"},
    "client_id": "my_client_id",
    "jti": "73WakrfVbNJBaAmhQtEeDv",
}
ID_TOKEN = {
    "iss": "https://my-domain.eu.auth0.com/",
    "sub": "auth0|123456",
    "aud": "my_client_id",
    "name": "Jane Doe",
    "nonce": "n-0S6_WzA2Mj",
    **TIMES,
}


def auth0(**changes: Any) -> Issuer:
    """The issuer of these tokens."""
    return Issuer.auth0("my-domain.eu.auth0.com", **options({"audience": API, "keys": KEYS}, changes))


def test_tokens_of_both_profiles_are_accepted() -> None:
    """The subject is the user, the scopes are what the client asked for, and the roles what the user may do."""
    principals = [accepted(auth0(), AUTH0_PROFILE), accepted(auth0(), RFC_9068_PROFILE, typ="at+jwt")]

    assert [(who.subject, set(who.scopes), set(who.roles)) for who in principals] == [
        (
            "auth0|123456",
            {"openid", "profile", "read:patients"},
            {"read:patients", "delete:patients"},
        )
    ] * 2


def test_a_machine_is_accepted_under_its_own_subject() -> None:
    """In a token of the client credentials grant, ``sub`` is the client with ``@clients`` at its end."""
    machine = {"sub": "my_client_id@clients", "aud": API, "gty": "client-credentials", "permissions": ...}

    assert accepted(auth0(), AUTH0_PROFILE, machine).subject == "my_client_id@clients"


def test_an_id_token_is_refused_even_if_the_audience_was_mistaken_for_a_client_id() -> None:
    """An ID token names no client; with the client ID as ``audience``, only that tells it from an access token."""
    assert refused(auth0(), ID_TOKEN)[0] == "token.audience_mismatch"
    assert refused(auth0(audience="my_client_id"), ID_TOKEN) == (
        "token.claim_missing",
        {"claim": "azp or client_id", "wanted": "the client of an access token"},
    )


def test_tokens_of_other_clients_tenants_and_apis_are_refused() -> None:
    """With ``clients``, a token for another client is refused; another tenant or API always is."""
    assert accepted(auth0(clients=["my_client_id"]), AUTH0_PROFILE).subject == "auth0|123456"
    assert refused(auth0(clients=["web", "ios"]), RFC_9068_PROFILE) == (
        "token.claim_invalid",
        {"claim": "client_id", "found": "my_client_id", "wanted": ("ios", "web")},
    )
    assert refused(auth0(), AUTH0_PROFILE, {"iss": "https://other.eu.auth0.com/"})[0] == "token.issuer_unknown"
    assert refused(auth0(), AUTH0_PROFILE, {"iss": "https://my-domain.eu.auth0.com"})[0] == "token.issuer_unknown"
    assert refused(auth0(), AUTH0_PROFILE, {"aud": "https://example.com/other"})[0] == "token.audience_mismatch"


@pytest.mark.parametrize("stated", ["", 7, ["my_client_id"]])
def test_a_client_that_is_no_name_is_refused(stated: object) -> None:
    """A client must be a text that is not empty, whether or not the clients are listed."""
    code, facts = refused(auth0(), AUTH0_PROFILE, {"azp": stated})

    assert (code, facts["claim"]) == ("token.claim_invalid", "azp")


def test_tokens_of_other_types_and_algorithms_are_refused() -> None:
    """A logout token is refused by its header, and so is a token without a type or with another algorithm."""
    assert [refused(auth0(), AUTH0_PROFILE, typ=typ)[0] for typ in ("logout+jwt", ...)] == ["token.type_refused"] * 2
    assert refused(auth0(), AUTH0_PROFILE, alg="PS256")[0] == "token.algorithm_refused"


def test_roles_of_an_action_are_used_instead() -> None:
    """A namespaced claim that an Action adds takes the place of the permissions."""
    issuer = auth0(roles=claim("https://shop.example/roles"))

    assert accepted(issuer, AUTH0_PROFILE, {"https://shop.example/roles": ["admin"]}).roles == {"admin"}


@pytest.mark.parametrize(
    ("domain", "fix"),
    [
        ("https://my-domain.eu.auth0.com/", 'write "my-domain.eu.auth0.com"'),
        ("my-domain.eu.auth0.com/", 'write "my-domain.eu.auth0.com"'),
        ("My-Domain.eu.auth0.com", 'write "my-domain.eu.auth0.com"'),
        ("https://user:secret@my-domain.eu.auth0.com", 'write "my-domain.eu.auth0.com"'),
        ("my-domain", 'write "shop.eu.auth0.com"'),
        (None, "a NoneType is not the name of a host"),
    ],
)
def test_a_domain_is_the_name_of_a_host(domain: Any, fix: str) -> None:
    """A URL, a slash and capitals are refused, and the error has the name to write."""
    with pytest.raises(ConfigurationError, match=fix) as caught:
        Issuer.auth0(domain, audience=API)

    assert caught.value.argument == "domain"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["userinfo", "api/v2/"])
def test_an_audience_of_auth0_itself_is_refused(path: str) -> None:
    """Tokens for the user info or the Management API are not for an API of yours."""
    with pytest.raises(ConfigurationError, match=r"audience: tokens for https://my-domain.eu.auth0.com/.* Auth0's own"):
        auth0(audience=[API, f"https://my-domain.eu.auth0.com/{path}"])
