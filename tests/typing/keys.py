"""Remote keys as users type them. Type checkers read this file, and pytest does not run it."""

from __future__ import annotations

import ssl

import httpx2

from authguard import Bearer, Guard, Issuer, RemoteJWKS, claim
from authguard.keys import Fetched


def through_a_proxy() -> httpx2.AsyncClient:
    """An HTTP client of the app."""
    return httpx2.AsyncClient(proxy="http://proxy.example:3128", verify=ssl.create_default_context())


async def from_a_vault(url: str) -> bytes:
    """A function that fetches a key set."""
    return b'{"keys": []}'


async def from_a_vault_that_says_how_long(url: str) -> Fetched:
    """A function that fetches a key set with its age."""
    return Fetched(b'{"keys": []}', max_age=300)


plain = RemoteJWKS("https://login.example/jwks.json")
tuned = RemoteJWKS(
    "https://login.example/jwks.json", client=through_a_proxy, cooldown=10, min_age=30, max_age=900, stale_if_error=3600
)
bearer = Bearer(
    Issuer("https://login.example/", audience="orders", algorithms=["RS256"], keys=plain),
    Issuer("https://two.example/", audience="orders", algorithms=["ES256"], keys=tuned),
    Issuer(
        "https://three.example/",
        audience="orders",
        algorithms=["ES256"],
        keys=RemoteJWKS("https://x/", fetch=from_a_vault),
    ),
    Issuer.discover(
        "https://four.example/realms/shop",
        audience="orders",
        algorithms=["RS256"],
        roles=claim("realm_access", "roles"),
        fetch=from_a_vault_that_says_how_long,
        timeout=3,
    ),
    realm="orders",
)
guard = Guard(bearer)


async def ready() -> dict[str, object]:
    """A readiness probe that shows the health."""
    await guard.warm()
    return {name: dict(figures) for name, figures in guard.health().items()}
