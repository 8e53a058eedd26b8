"""``Issuer.keycloak``: the tokens of a Keycloak realm, whose claim ``typ`` says of what kind each is."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Issuer
from tests.support.providers import KEYS, TIMES, accepted, options, refused

# The claims of an access token of Keycloak 26, with an audience mapper for the client "orders".
ACCESS_TOKEN = {
    "jti": "onrtac:b15091f7-27d8-409b-a31e-dea36e08db2e",
    "iss": "https://login.example/realms/shop",
    "aud": ["orders", "account"],
    "sub": "c3c4b3da-c660-432d-a566-02d86691083b",
    "typ": "Bearer",
    "azp": "web",
    "sid": "a316220a-5e21-44cb-88ee-e75af2c97807",
    "acr": "1",
    "realm_access": {"roles": ["offline_access", "default-roles-shop", "cashier"]},
    "resource_access": {"orders": {"roles": ["refund"]}, "stock": {"roles": ["admin"]}},
    "scope": "openid profile email",
    "preferred_username": "alice",
    **TIMES,
}


def keycloak(**changes: Any) -> Issuer:
    """The issuer of these tokens."""
    return Issuer.keycloak("https://login.example", "shop", **options({"client": "orders", "keys": KEYS}, changes))


def test_an_access_token_is_accepted_with_the_roles_of_realm_and_client() -> None:
    """The roles of the realm and of this client are used, and those of another client are not."""
    who = accepted(keycloak(), ACCESS_TOKEN)

    assert who.subject == "c3c4b3da-c660-432d-a566-02d86691083b"
    assert who.roles == {"offline_access", "default-roles-shop", "cashier", "refund"}
    assert who.scopes == {"openid", "profile", "email"}


def test_a_service_account_is_accepted() -> None:
    """A token of the client credentials grant has a user of its own as ``sub``, and perhaps the type at+jwt."""
    machine = {"azp": "batch", "client_id": "batch", "preferred_username": "service-account-batch", "sid": ...}

    assert accepted(keycloak(), ACCESS_TOKEN, machine, typ="at+jwt").claims["client_id"] == "batch"


@pytest.mark.parametrize("kind", ["ID", "Refresh", "Offline", "Logout"])
def test_tokens_for_the_client_are_refused(kind: str) -> None:
    """ID, refresh, offline and logout tokens are refused, even where the audience fits."""
    assert refused(keycloak(), ACCESS_TOKEN, {"typ": kind}) == (
        "token.type_refused",
        {"claim": "typ", "typ": kind, "wanted": "an access token"},
    )


@pytest.mark.parametrize("kind", ["DPoP", "Serialized-ID", "RegistrationAccessToken", 7])
def test_every_other_kind_is_refused(kind: object) -> None:
    """Only Bearer is the kind of an access token that needs no proof."""
    code, facts = refused(keycloak(), ACCESS_TOKEN, {"typ": kind})

    assert (code, facts["claim"], facts["wanted"]) == ("token.claim_invalid", "typ", ("Bearer",))


def test_a_token_that_does_not_say_its_kind_is_refused() -> None:
    """Keycloak always writes ``typ``, so a token without it is none of its access tokens."""
    assert refused(keycloak(), ACCESS_TOKEN, {"typ": ...}) == (
        "token.claim_missing",
        {"claim": "typ", "wanted": ("Bearer",)},
    )


def test_a_token_without_an_audience_mapper_is_refused() -> None:
    """The default audience ``account`` is for the account console, and the record says which client was wanted."""
    assert refused(keycloak(), ACCESS_TOKEN, {"aud": "account"}) == (
        "token.audience_mismatch",
        {"audience": ("account",), "wanted": ("orders",), "issuer": "https://login.example/realms/shop"},
    )
    assert accepted(keycloak(audience="https://api"), ACCESS_TOKEN, {"aud": "https://api"}).subject


def test_tokens_of_other_clients_and_realms_are_refused() -> None:
    """With ``clients``, the client that asked for the token must be listed; another realm always is refused."""
    assert accepted(keycloak(clients=["web"]), ACCESS_TOKEN).subject
    assert refused(keycloak(clients=["ios"]), ACCESS_TOKEN) == (
        "token.claim_invalid",
        {"claim": "azp", "found": "web", "wanted": ("ios",)},
    )
    assert refused(keycloak(clients=["ios"]), ACCESS_TOKEN, {"azp": ...}) == (
        "token.claim_missing",
        {"claim": "azp", "wanted": ("ios",)},
    )
    other = {"iss": "https://login.example/realms/other"}
    assert refused(keycloak(), ACCESS_TOKEN, other)[0] == "token.issuer_unknown"


def test_the_old_path_of_keycloak_is_part_of_its_url() -> None:
    """Keycloak 16 and older, and some after it, have ``/auth`` before ``/realms``."""
    issuer = Issuer.keycloak("https://login.example/auth", "shop", client="orders", keys=KEYS)

    assert issuer.issuer == "https://login.example/auth/realms/shop"


@pytest.mark.parametrize(
    ("url", "realm", "argument", "fix"),
    [
        (
            "https://login.example/realms/shop",
            "shop",
            "url",
            r'this is the URL of a realm; write Issuer.keycloak\("https://login.example", "shop", ...\)',
        ),
        ("https://login.example/", "shop", "url", 'write "https://login.example"'),
        ("https://login.example/admin/master/console", "shop", "url", "the admin console"),
        ("https://login.example?x=1", "shop", "url", "must not contain a query"),
        ("http://login.example", "shop", "url", "insecure_http=True"),
        ("login.example", "shop", "url", 'write "https://login.example"'),
        ("https://login.example", "the shop", "realm", 'write "shop"'),
        ("https://login.example", "", "realm", 'write "shop"'),
        ("https://login.example", None, "realm", 'write "shop"'),
    ],
)
def test_url_and_realm_are_two_arguments(url: str, realm: Any, argument: str, fix: str) -> None:
    """The URL of a realm, of the console, or with a slash at its end is refused, with what to write."""
    with pytest.raises(ConfigurationError, match=fix) as caught:
        Issuer.keycloak(url, realm, client="orders", keys=KEYS)

    assert caught.value.argument == argument


@pytest.mark.parametrize(("argument", "value"), [("client", ""), ("client", None), ("clients", [])])
def test_a_client_has_a_name(argument: str, value: Any) -> None:
    """The client of this API is named, and a list of clients is not empty."""
    with pytest.raises(ConfigurationError) as caught:
        keycloak(**{argument: value})

    assert caught.value.argument == argument
