"""Tokens of the shapes that identity providers document, really signed, and what an issuer decides about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2

from authguard import Issuer, JWKSet, Principal
from tests.support.clock import NOW
from tests.support.schemes.bearer import accepted_principal, bearer, explained_rejection
from tests.support.servers.key_server import KeyServer
from tests.support.tokens import key_set, raw_token, rsa_key

#: The times of all tokens here.
TIMES = {"iat": int(NOW) - 60, "exp": int(NOW) + 3600}
#: The key set that a provider publishes.
PUBLISHED = key_set(k1=rsa_key())
#: The same keys, for an issuer that fetches nothing.
KEYS = JWKSet(PUBLISHED)


def signed(claims: Mapping[str, Any], changes: Mapping[str, Any] | None = None, **header: Any) -> str:
    """A token with these claims. A change to ``...`` removes a claim, or a parameter of the header."""
    members = {"alg": "RS256", "typ": "JWT", "kid": "k1", **header}
    payload = {name: value for name, value in {**claims, **(changes or {})}.items() if value is not ...}
    return raw_token({name: value for name, value in members.items() if value is not ...}, payload, rsa_key())


def accepted(
    issuer: Issuer, claims: Mapping[str, Any], changes: Mapping[str, Any] | None = None, **header: Any
) -> Principal:
    """The principal of such a token, which is accepted."""
    return accepted_principal(bearer(issuer), signed(claims, changes, **header))


def refused(
    issuer: Issuer, claims: Mapping[str, Any], changes: Mapping[str, Any] | None = None, **header: Any
) -> tuple[str, Mapping[str, object]]:
    """The reason and the facts with which such a token is refused."""
    return explained_rejection(bearer(issuer), signed(claims, changes, **header))


def options(defaults: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments with these changes. A change to ``...`` leaves an argument out."""
    return {name: value for name, value in {**defaults, **changes}.items() if value is not ...}


class Detour:
    """Sends each request to a server on loopback, and keeps the URLs that were asked for."""

    def __init__(self, server: KeyServer) -> None:
        self.urls: list[str] = []
        self.server = server

    async def fetch(self, url: str) -> bytes:
        """The server's response to the path of the URL."""
        self.urls.append(url)
        path = httpx2.URL(url).raw_path.decode()
        async with httpx2.AsyncClient(trust_env=False) as client:
            response = await client.get(f"http://127.0.0.1:{self.server.port}{path}")
        return response.raise_for_status().content
