"""Supabase Auth: the access tokens of a project's users."""

from __future__ import annotations

import re

from authguard.errors import ConfigurationError
from authguard.model import Failure
from authguard.providers.arguments import check_base_url, path_of
from authguard.providers.token_profile import ClaimRule, Claims, TokenProfile, require_one_of
from authguard.reasons import TOKEN_CLAIM_INVALID
from authguard.validation import check_flag

_EXAMPLE = "https://abcdefghijklmnopqrst.supabase.co"
_REF = re.compile(r"[a-z0-9]{20}")


def supabase(url: str, *, with_secret: bool, anonymous: bool, insecure_http: bool = False) -> TokenProfile:
    """The tokens of the project at this URL. ``with_secret``: whether tokens of the old JWT secret are accepted too.

    ``anonymous``: whether users of the anonymous sign-in are accepted, who have the role ``authenticated`` as all do.
    The keys ``anon`` and ``service_role`` are JWTs that name no user, and are refused.
    """
    if isinstance(url, str) and _REF.fullmatch(url):
        raise ConfigurationError("url", f'this is the ID of a project; write "https://{url}.supabase.co"')
    base = check_base_url("url", url, insecure_http=insecure_http, example=_EXAMPLE)
    if path_of(base):
        raise ConfigurationError("url", f'give the URL of the project, without a path; write "{_EXAMPLE}"')
    rules: tuple[ClaimRule, ...] = (require_one_of(("role",), frozenset({"authenticated"})),)
    if not check_flag("anonymous", anonymous):
        rules += (_refuse_anonymous,)
    issuer = f"{base}/auth/v1"
    return TokenProfile(
        (issuer,),
        f"{issuer}/.well-known/jwks.json",
        algorithms=("ES256", "RS256", "HS256") if with_secret else ("ES256", "RS256"),
        roles=(("role",),),
        rules=rules,
    )


def _refuse_anonymous(claims: Claims) -> Failure | None:
    found = claims.get("is_anonymous", False)
    if found is False:
        return None
    facts = {"claim": "is_anonymous", "found": str(found), "wanted": "False, or anonymous=True"}
    return Failure(TOKEN_CLAIM_INVALID, facts)
