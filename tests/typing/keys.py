"""Remote keys as users type them. Type checkers read this file, and pytest does not run it."""

from __future__ import annotations

import ssl

import httpx2

from authguard import ANY_TENANT, PEM, Bearer, Guard, Issuer, RemoteJWKS, Secret, claim
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
by_name: list[Issuer] = [
    Issuer.auth0("shop.eu.auth0.com", audience="api", clients=["web"], roles=claim("https://shop.example/roles")),
    Issuer.keycloak("https://login.example", "shop", client="orders", http_client=through_a_proxy, timeout=3),
    Issuer.entra("1111", audience=["6666", "api://6666"], versions=["2.0"]),
    Issuer.entra(ANY_TENANT, audience="6666", subject=claim("oid")),
    Issuer.cognito("eu-central-1", "eu-central-1_AbC", clients={"web", "ios"}, algorithms=["RS256"]),
    Issuer.google(audience="1234.apps.googleusercontent.com", domains=["shop.example"]),
    Issuer.okta("shop.okta.com", audience="api://default", subject=[claim("uid"), claim("cid")]),
    Issuer.firebase("shop-1a2b3", anonymous=True, check=lambda claims: claims.get("email_verified") is True),
    Issuer.supabase("https://shop.supabase.co", secret=Secret("..."), fetch=from_a_vault),
    Issuer.github_actions(audience="api", repositories=["octo-org/shop"], keys=PEM("...")),
]
Issuer.auth0("shop.eu.auth0.com", audience="api", timeuot=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Issuer.keycloak("https://login.example", "shop")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def ready() -> dict[str, object]:
    """A readiness probe that shows the health."""
    await guard.warm()
    return {name: dict(figures) for name, figures in guard.health().items()}
