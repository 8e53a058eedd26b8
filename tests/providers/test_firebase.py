"""``Issuer.firebase``: ID tokens of a Firebase project, checked as its page on ID tokens and JWT libraries says."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import ConfigurationError, Issuer, claim
from tests.support.providers import KEYS, TIMES, accepted, options, refused

ID_TOKEN = {
    "iss": "https://securetoken.google.com/shop-1a2b3",
    "aud": "shop-1a2b3",
    "auth_time": TIMES["iat"] - 86_400,
    "user_id": "aUiD1",
    "sub": "aUiD1",
    "email": "alice@example.com",
    "email_verified": True,
    "firebase": {"identities": {"email": ["alice@example.com"]}, "sign_in_provider": "password"},
    **TIMES,
}


def firebase(**changes: Any) -> Issuer:
    """The issuer of these tokens."""
    return Issuer.firebase("shop-1a2b3", **options({"keys": KEYS}, changes))


def test_an_id_token_is_accepted() -> None:
    """Firebase has no access tokens for an API. Roles are custom claims, which the app names."""
    assert accepted(firebase(), ID_TOKEN).subject == "aUiD1"
    assert accepted(firebase(roles=claim("roles")), ID_TOKEN, {"roles": ["admin"]}).roles == {"admin"}


def test_tokens_of_other_projects_are_refused() -> None:
    """Issuer and audience are both the project, and a session cookie has another issuer."""
    assert refused(firebase(), ID_TOKEN, {"aud": "other-1a2b3"})[0] == "token.audience_mismatch"
    for other in ("https://securetoken.google.com/other-1a2b3", "https://session.firebase.google.com/shop-1a2b3"):
        assert refused(firebase(), ID_TOKEN, {"iss": other})[0] == "token.issuer_unknown"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"auth_time": ...}, ("token.claim_missing", {"claim": "auth_time"})),
        ({"iat": ...}, ("token.claim_missing", {"claim": "iat"})),
        (
            {"auth_time": TIMES["iat"] + 1},
            ("token.claim_invalid", {"claim": "auth_time", "wanted": "a time before iat"}),
        ),
        ({"auth_time": "now"}, ("token.claim_invalid", {"claim": "auth_time", "wanted": "a time before iat"})),
        ({"auth_time": True}, ("token.claim_invalid", {"claim": "auth_time", "wanted": "a time before iat"})),
        (
            {"sub": ""},
            (
                "token.claim_invalid",
                {"claim": "sub", "found": "an empty string", "wanted": "a string that is not empty"},
            ),
        ),
    ],
)
def test_the_login_was_in_the_past(changes: dict[str, Any], refusal: object) -> None:
    """``iat`` and ``auth_time`` are there, the login was before the token, and ``sub`` is not empty."""
    assert refused(firebase(), ID_TOKEN, changes) == refusal


def test_anonymous_users_are_refused_unless_asked_for() -> None:
    """The anonymous sign-in gives a token to whoever asks."""
    anonymous = {"firebase": {"identities": {}, "sign_in_provider": "anonymous"}}
    wanted = "another provider, or anonymous=True"

    assert refused(firebase(), ID_TOKEN, anonymous) == (
        "token.claim_invalid",
        {"claim": "firebase.sign_in_provider", "found": "anonymous", "wanted": wanted},
    )
    assert refused(firebase(), ID_TOKEN, {"firebase": ...}) == (
        "token.claim_missing",
        {"claim": "firebase", "wanted": wanted},
    )
    assert accepted(firebase(anonymous=True), ID_TOKEN, anonymous).subject == "aUiD1"


def test_tenants_are_those_of_identity_platform() -> None:
    """All tenants of a project have one issuer and audience, so the list is compared with ``firebase.tenant``."""
    issuer = firebase(tenants=["north-x1y2z"])
    of_tenant = {"firebase": {"sign_in_provider": "password", "tenant": "south-x1y2z"}}

    assert accepted(firebase(), ID_TOKEN, of_tenant).subject == "aUiD1"
    assert refused(issuer, ID_TOKEN, of_tenant) == (
        "token.claim_invalid",
        {"claim": "firebase.tenant", "found": "south-x1y2z", "wanted": ("north-x1y2z",)},
    )
    assert refused(issuer, ID_TOKEN)[0] == "token.claim_missing"


@pytest.mark.parametrize(
    ("project", "changes", "argument"),
    [
        ("https://shop-1a2b3.firebaseapp.com", {}, "project"),
        ("Shop", {}, "project"),
        (1234567890, {}, "project"),
        ("shop-1a2b3", {"tenants": []}, "tenants"),
        ("shop-1a2b3", {"anonymous": "no"}, "anonymous"),
    ],
)
def test_arguments_are_checked(project: Any, changes: dict[str, Any], argument: str) -> None:
    """The ID of the project is no URL, no name and no number."""
    with pytest.raises(ConfigurationError) as caught:
        Issuer.firebase(project, keys=KEYS, **changes)

    assert caught.value.argument == argument
