"""The key set of a key server (RFC 7517), at an address that the app names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from authguard.errors import ConfigurationError
from authguard.keys.fetching import check_address, shown
from authguard.keys.keyset import read_keys
from authguard.keys.refresh import Loaded
from authguard.keys.refreshed import RefreshedKeys
from authguard.keys.terms import Options, Terms, terms_of


class JWKS(RefreshedKeys):
    """``Issuer(..., keys=JWKS("https://login.example/jwks.json"))``: keys that are fetched, and rotate.

    Nothing is fetched while the app is built. ``Options`` says what else may be given; fetching needs httpx2 (the extra
    ``oidc``), unless ``fetch`` stands in for it. Keys for encryption, private ones, secrets, RSA under 2048 bits and
    what is not understood are left out, each told once in a WARNING. A key without ``alg`` serves what its type allows
    and the issuer's ``algorithms`` take. Raises ``ConfigurationError``; denies with ``keys.unavailable``.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        given = terms_of("JWKS", options)
        if isinstance(url, Mapping) or (isinstance(url, str | bytes) and url.lstrip()[:1] in {"{", b"{"}):
            raise ConfigurationError("url", "this is no address; for a key set that you hold write JWKSet(...)")
        self.url = check_address("url", url, insecure_http=given.insecure_http)
        super().__init__(shown(url), given)

    async def _load(self) -> Loaded:
        return await load_keys(self.url, self._terms)


async def load_keys(url: str, given: Terms) -> Loaded:
    """The key set at this address. Raises ``FetchFailed``."""
    answer = await given.fetched(url)
    return Loaded(read_keys(answer.body), given.lifetime(answer.max_age))
