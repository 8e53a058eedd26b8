"""``Issuer.google``: ID tokens of users who signed in with Google, which writes ``iss`` in two ways."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Issuer
from tests.support.providers import KEYS, TIMES, accepted, options, refused

CLIENT = "1234987819200-abcd.apps.googleusercontent.com"
ID_TOKEN = {
    "iss": "https://accounts.google.com",
    "azp": CLIENT,
    "aud": CLIENT,
    "sub": "10769150350006150715113082367",
    "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
    "hd": "example.com",
    "email": "jsmith@example.com",
    "email_verified": True,
    "nonce": "0394852-3190485-2490358",
    **TIMES,
}


def google(**changes: Any) -> Issuer:
    """The issuer of these tokens."""
    return Issuer.google(**options({"audience": CLIENT, "keys": KEYS}, changes))


@pytest.mark.parametrize("spelling", ["https://accounts.google.com", "accounts.google.com"])
def test_both_spellings_are_accepted(spelling: str) -> None:
    """Google documents both, and the subject is the number of the account."""
    who = accepted(google(), ID_TOKEN, {"iss": spelling})

    assert (who.subject, set(who.roles), set(who.scopes)) == (ID_TOKEN["sub"], set(), set())


def test_tokens_for_other_apps_are_refused() -> None:
    """An ID token that another app got is refused, or that app could act for its users here."""
    assert refused(google(), ID_TOKEN, {"aud": "other.apps.googleusercontent.com"})[0] == "token.audience_mismatch"
    assert refused(google(), ID_TOKEN, {"iss": "https://accounts.google.com/"})[0] == "token.issuer_unknown"


def test_domains_are_those_of_google_workspace() -> None:
    """With ``domains``, ``hd`` must be one of them; a personal account has none, whatever its e-mail address is."""
    issuer = google(domains=["example.com"])

    assert accepted(issuer, ID_TOKEN).subject == ID_TOKEN["sub"]
    assert refused(issuer, ID_TOKEN, {"hd": "evil.example"}) == (
        "token.claim_invalid",
        {"claim": "hd", "found": "evil.example", "wanted": ("example.com",)},
    )
    assert refused(issuer, ID_TOKEN, {"hd": ...})[0] == "token.claim_missing"


@pytest.mark.parametrize("domains", [[], ["@example.com"], ["https://example.com"], "example.com"])
def test_domains_are_checked(domains: Any) -> None:
    """An empty list, an address and a URL are refused."""
    with pytest.raises(ConfigurationError) as caught:
        google(domains=domains)

    assert caught.value.argument == "domains"
