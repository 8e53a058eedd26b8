"""A resource server as users type it: opaque tokens, replaced issuers, metadata, and a custom key source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

import httpx2

from authguard import (
    ANY_AUDIENCE,
    PEM,
    Bearer,
    Guard,
    Introspection,
    Issuer,
    ProtectedResource,
    Rule,
    all_of,
    claim,
    scopes,
    step_up,
)
from authguard.schemes import Published


async def ask(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """A function in the place of httpx2."""
    return 200, b'{"active": false}'


async def proof(headers: dict[str, str], form: dict[str, str]) -> None:
    """A client assertion (RFC 7523)."""
    form["client_assertion"] = "signed"


def key(headers: dict[str, str], form: dict[str, str]) -> None:
    """A token of the client's own."""
    headers["Authorization"] = "Bearer key"


one = Issuer("https://a.example", audience="api", algorithms=["ES256"], keys=PEM("..."))
opaque = Introspection(
    "https://a.example/introspect",
    client_id="api",
    client_secret="secret",
    issuer="https://a.example",
    audience=["api", "https://api.example"],
    roles=[claim("roles"), lambda claims: {claims["group"]}],
    remember=None,
    client=lambda: httpx2.AsyncClient(http2=False),
)
Introspection("https://a.example/", auth=proof, issuer="x", audience=ANY_AUDIENCE, post=ask, deadline=2)
Introspection("https://a.example/", auth=key, issuer=["x", "y"], audience="z", visible_ascii=True, check=lambda _: True)
Introspection("http://127.0.0.1/", auth=key, issuer="x", audience="y", insecure_http=True)
resource = ProtectedResource(
    "https://api.example",
    authorization_servers=["https://a.example"],
    scopes=("read", "write"),
    metadata={"resource_name": "API", "resource_documentation": "https://docs.example"},
)
bearer = Bearer(one, opaque, realm="api", resource=resource)
bearer.replace(one)
assert_type(bearer.health(), Mapping[str, object])
assert_type(resource.metadata_url, str)
page = Published("/.well-known/security.txt", "text/plain", b"Contact: mailto:security@api.example")
guard = Guard(bearer, rules=[Rule("/pay", all_of(scopes("pay"), step_up(acr="phr", max_age=60)))])
