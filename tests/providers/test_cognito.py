"""``Issuer.cognito``: the access tokens of a user pool, as "Understanding the access token" shows them."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Issuer
from tests.support.providers import KEYS, TIMES, accepted, options, refused

POOL, CLIENT = "us-east-1_EXAMPLE", "1example23456789"
# The header has neither a type nor anything else but `kid` and `alg`.
ACCESS_TOKEN = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "cognito:groups": ["testgroup", "admin"],
    "iss": f"https://cognito-idp.us-east-1.amazonaws.com/{POOL}",
    "version": 2,
    "client_id": CLIENT,
    "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "token_use": "access",
    "scope": "phone openid profile resourceserver.1/appclient2",
    "auth_time": TIMES["iat"],
    "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "username": "my-test-user",
    **TIMES,
}
ID_TOKEN = {
    **{name: value for name, value in ACCESS_TOKEN.items() if name not in {"client_id", "scope", "version"}},
    "aud": CLIENT,
    "token_use": "id",
    "email": "alice@example.com",
}


def cognito(**changes: Any) -> Issuer:
    """The issuer of these tokens."""
    return Issuer.cognito("us-east-1", POOL, **options({"clients": [CLIENT], "keys": KEYS}, changes))


def test_an_access_token_is_accepted_by_its_client() -> None:
    """It has no ``aud``. The roles are the groups of the user."""
    who = accepted(cognito(), ACCESS_TOKEN, typ=...)

    assert (who.subject, set(who.roles)) == (ACCESS_TOKEN["sub"], {"testgroup", "admin"})
    assert who.scopes == {"phone", "openid", "profile", "resourceserver.1/appclient2"}


def test_both_spellings_of_the_issuer_are_accepted() -> None:
    """Amazon's own verifier knows a second host, with ``issuer.`` before the first."""
    second = {"iss": f"https://issuer.cognito-idp.us-east-1.amazonaws.com/{POOL}"}

    assert accepted(cognito(), ACCESS_TOKEN, second, typ=...).subject == ACCESS_TOKEN["sub"]


def test_an_id_token_is_refused() -> None:
    """The ID token of the same client is refused by ``token_use``."""
    assert refused(cognito(), ID_TOKEN, typ=...) == (
        "token.type_refused",
        {"claim": "token_use", "typ": "id", "wanted": "an access token"},
    )


@pytest.mark.parametrize(("stated", "code"), [(..., "token.claim_missing"), ("other", "token.claim_invalid")])
def test_only_an_access_token_is_accepted(stated: object, code: str) -> None:
    """``token_use`` must be there, and must be ``access``."""
    assert refused(cognito(), ACCESS_TOKEN, {"token_use": stated})[0] == code


def test_other_clients_and_pools_are_refused() -> None:
    """A token of another app client of the pool is refused, and so is one of another pool."""
    assert refused(cognito(), ACCESS_TOKEN, {"client_id": "2other"}) == (
        "token.claim_invalid",
        {"claim": "client_id", "found": "2other", "wanted": (CLIENT,)},
    )
    assert refused(cognito(), ACCESS_TOKEN, {"client_id": ...})[0] == "token.claim_missing"
    other = {"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_OTHER"}
    assert refused(cognito(), ACCESS_TOKEN, other)[0] == "token.issuer_unknown"


def test_a_resource_is_checked_where_it_is_named() -> None:
    """If clients ask for a resource, ``aud`` is that resource."""
    issuer = cognito(audience="https://api.shop.example")

    assert accepted(issuer, ACCESS_TOKEN, {"aud": "https://api.shop.example"}).subject
    assert refused(issuer, ACCESS_TOKEN)[0] == "token.claim_missing"


@pytest.mark.parametrize(
    ("region", "pool", "clients", "argument"),
    [
        ("Frankfurt", POOL, [CLIENT], "region"),
        ("us-east-1", "EXAMPLE", [CLIENT], "pool"),
        ("eu-central-1", POOL, [CLIENT], "pool"),
        ("us-east-1", "arn:aws:cognito-idp:us-east-1:1:userpool/us-east-1_EXAMPLE", [CLIENT], "pool"),
        ("us-east-1", POOL, [], "clients"),
        ("us-east-1", POOL, CLIENT, "clients"),
    ],
)
def test_region_pool_and_clients_are_checked(region: str, pool: str, clients: Any, argument: str) -> None:
    """A pool belongs to its region, and at least one client is listed."""
    with pytest.raises(ConfigurationError) as caught:
        Issuer.cognito(region, pool, clients=clients, keys=KEYS)

    assert caught.value.argument == argument
