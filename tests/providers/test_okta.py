"""``Issuer.okta``: access tokens of a custom authorization server of Okta."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Issuer
from tests.support.providers import KEYS, TIMES, accepted, options, refused

ACCESS_TOKEN = {
    "ver": 1,
    "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    "iss": "https://shop.okta.com/oauth2/default",
    "aud": "api://default",
    "sub": "user@example.com",
    "cid": "nmdP1fcyvdVO11AL7ECm",
    "uid": "00ujmkLgagxeRrAg20g3",
    "scp": ["openid", "orders:read"],
    "groups": ["Everyone", "Admins"],
    **TIMES,
}
ID_TOKEN = {
    **{name: value for name, value in ACCESS_TOKEN.items() if name not in {"cid", "uid", "scp"}},
    "jti": "ID.radCQMOQUmyvcTBmmIL0J6BaS60apUEiC7-vI7pOmkw",
    "aud": ACCESS_TOKEN["cid"],
    "at_hash": "fPlsvVszI29LU2UhDyJ9vg",
}


def okta(**changes: Any) -> Issuer:
    """The issuer of these tokens."""
    return Issuer.okta("shop.okta.com", **options({"audience": "api://default", "keys": KEYS}, changes))


def test_an_access_token_is_accepted() -> None:
    """Its header has no type. The roles are the groups."""
    who = accepted(okta(), ACCESS_TOKEN, typ=...)

    assert (who.subject, set(who.roles), set(who.scopes)) == (
        "user@example.com",
        {"Everyone", "Admins"},
        {"openid", "orders:read"},
    )


def test_an_id_token_is_refused() -> None:
    """An ID token is for the client; with its ID as ``audience``, it is refused because it names no client."""
    assert refused(okta(), ID_TOKEN, typ=...)[0] == "token.audience_mismatch"
    assert refused(okta(audience=ACCESS_TOKEN["cid"]), ID_TOKEN, typ=...) == (
        "token.claim_missing",
        {"claim": "cid", "wanted": "the client of an access token"},
    )


def test_tokens_of_the_org_authorization_server_are_refused() -> None:
    """They are for Okta alone: their ``iss`` has no authorization server, and their type is Okta's own."""
    org = {"iss": "https://shop.okta.com", "aud": "https://shop.okta.com"}

    assert refused(okta(), ACCESS_TOKEN, org, typ="application/okta-internal-at+jwt")[0] == "token.issuer_unknown"
    assert refused(okta(), ACCESS_TOKEN, typ="application/okta-internal-at+jwt")[0] == "token.type_refused"


def test_tokens_of_other_clients_and_servers_are_refused() -> None:
    """With ``clients``, ``cid`` must be listed; another authorization server always is refused."""
    assert refused(okta(clients=["other"]), ACCESS_TOKEN) == (
        "token.claim_invalid",
        {"claim": "cid", "found": ACCESS_TOKEN["cid"], "wanted": ("other",)},
    )
    assert refused(okta(server="aus1"), ACCESS_TOKEN)[0] == "token.issuer_unknown"


@pytest.mark.parametrize(
    ("domain", "server", "argument", "fix"),
    [
        ("https://shop.okta.com", "default", "domain", 'write "shop.okta.com"'),
        ("shop-admin.okta.com", "default", "domain", 'the admin console; write "shop.okta.com"'),
        ("shop.okta.com", None, "server", "for Okta alone"),
        ("shop.okta.com", "https://shop.okta.com/oauth2/default", "server", 'write "default"'),
    ],
)
def test_domain_and_server_are_checked(domain: str, server: Any, argument: str, fix: str) -> None:
    """A URL, the host of the console, and the org authorization server are refused, with what to write."""
    with pytest.raises(ConfigurationError, match=fix) as caught:
        Issuer.okta(domain, audience="api://default", server=server, keys=KEYS)

    assert caught.value.argument == argument
