"""Firebase Authentication: the ID tokens of a project's users."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authguard.model import Failure
from authguard.providers.arguments import check_listed, check_word
from authguard.providers.token_profile import ClaimRule, Claims, TokenProfile, require_one_of
from authguard.reasons import TOKEN_CLAIM_INVALID, TOKEN_CLAIM_MISSING
from authguard.validation import check_flag

_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def firebase(project: str, tenants: Iterable[str] | None, *, anonymous: bool) -> TokenProfile:
    """The ID tokens of a project, which are what Firebase has for calling an API.

    ``tenants``: the tenants of Identity Platform whose users are accepted; None as the Admin SDK does, which does not
    ask. ``anonymous``: whether users of the anonymous sign-in are accepted, who are whoever asks.
    """
    name = check_word("project", project, _PROJECT, 'is not the ID of a project; write "shop-1a2b3"')
    listed = check_listed("tenants", tenants, "so nobody could log in; leave it out to accept every tenant")
    rules: tuple[ClaimRule, ...] = (_require_past_login,)
    if not check_flag("anonymous", anonymous):
        rules += (_refuse_anonymous,)
    if listed is not None:
        rules += (require_one_of(("firebase", "tenant"), listed),)
    return TokenProfile(
        (f"https://securetoken.google.com/{name}",),
        "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        rules=rules,
    )


def _require_past_login(claims: Claims) -> Failure | None:
    """Firebase: ``auth_time`` must be in the past. It is before ``iat``, which is compared with the clock."""
    found, issued = claims.get("auth_time"), claims.get("iat")
    if found is None or issued is None:
        return Failure(TOKEN_CLAIM_MISSING, {"claim": "iat" if issued is None else "auth_time"})
    if type(found) in {int, float} and found <= issued:
        return None
    return Failure(TOKEN_CLAIM_INVALID, {"claim": "auth_time", "wanted": "a time before iat"})


def _refuse_anonymous(claims: Claims) -> Failure | None:
    found = claims.get("firebase")
    if isinstance(found, dict) and found.get("sign_in_provider") != "anonymous":
        return None
    wanted = "another provider, or anonymous=True"
    if not isinstance(found, dict):
        return Failure(TOKEN_CLAIM_MISSING, {"claim": "firebase", "wanted": wanted})
    facts = {"claim": "firebase.sign_in_provider", "found": "anonymous", "wanted": wanted}
    return Failure(TOKEN_CLAIM_INVALID, facts)
