"""Amazon Cognito: the access tokens of a user pool."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authguard.errors import ConfigurationError
from authguard.providers.arguments import check_word
from authguard.providers.token_profile import TokenProfile, require_client, require_one_of
from authguard.validation import names

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}")
_POOL = re.compile(r"[a-z0-9-]+_[A-Za-z0-9]+")


def cognito(region: str, pool: str, clients: Iterable[str]) -> TokenProfile:
    """The access tokens of a user pool. They have no ``aud``: the client that a token was issued to must be listed."""
    place = check_word("region", region, _REGION, 'is not a region; write "eu-central-1"')
    name = check_word("pool", pool, _POOL, f'is not the ID of a user pool; write "{place}_AbCdEfGhI"')
    if name.partition("_")[0] != place:
        raise ConfigurationError("pool", f"{name!r} is not in the region {place!r}; an ID begins with its region")
    listed = names("clients", clients)
    if not listed:
        raise ConfigurationError("clients", "the list is empty; give the IDs of the app clients that may call this API")
    issuer = f"https://cognito-idp.{place}.amazonaws.com/{name}"
    return TokenProfile(
        # The second is what pools with the newer host write.
        (issuer, f"https://issuer.cognito-idp.{place}.amazonaws.com/{name}"),
        f"{issuer}/.well-known/jwks.json",
        roles=(("cognito:groups",),),
        scopes=(("scope",),),
        rules=(require_one_of(("token_use",), frozenset({"access"})), require_client(("client_id",), listed)),
    )
