"""Refusals of the proofs of DPoP for ``docs/reasons.md``, as in ``tests/docs/refusals.py``."""

from __future__ import annotations

import json
from typing import Any

from jwt.utils import base64url_decode

from authguard import MemoryProofs, Record
from authguard.wire.dpop_proof import base64url
from tests.docs.refusals import refused
from tests.schemes.dpop.site import URL, Site
from tests.support.asgi import http_scope, run_app


async def sent(site: Site, headers: dict[str, str]) -> Record:
    """The record of a request with these fields."""
    await site.send(headers)
    return site.records[-1]


async def changed(**claims: Any) -> Record:
    """The record of a request whose proof has other claims."""
    site = Site()
    return await sent(site, site.headers(**claims))


async def with_header(**members: Any) -> Record:
    """The record of a request whose proof has another header."""
    site = Site()
    header, claims, signature = site.headers()["DPoP"].split(".")
    other = {**json.loads(base64url_decode(header)), **members}
    proof = f"{base64url(json.dumps(other).encode())}.{claims}.{signature}"
    return await sent(site, {"Authorization": f"DPoP {site.token}", "DPoP": proof})


@refused("token.unbound")
async def unbound() -> Record:
    """A token for everybody that comes with a proof."""
    site = Site()
    site.token = site.bound_token(cnf=...)
    return await sent(site, site.headers())


@refused("token.key_mismatch")
async def stolen() -> Record:
    """A token of alice with the proof of another key."""
    site = Site()
    return await sent(site, site.thief.headers(site.token, "GET", f"{URL}/orders"))


@refused("proof.missing")
async def no_proof() -> Record:
    """The token alone."""
    site = Site()
    return await sent(site, {"Authorization": f"DPoP {site.token}"})


@refused("proof.ambiguous")
async def two_proofs() -> Record:
    """One field twice."""
    site = Site()
    fields = [(name.lower().encode(), text.encode()) for name, text in site.headers().items()]
    await run_app(site.app, http_scope("/orders", headers=[*fields, fields[1]]))
    return site.records[-1]


@refused("proof.malformed")
async def no_id() -> Record:
    """A proof without an id."""
    return await changed(jti=...)


@refused("proof.type_refused")
async def other_type() -> Record:
    """A proof that calls itself an access token."""
    return await with_header(typ="at+jwt")


@refused("proof.algorithm_refused")
async def symmetric() -> Record:
    """A proof with a shared secret."""
    return await with_header(alg="HS256")


@refused("proof.key_refused")
async def private_key() -> Record:
    """A proof that holds its private key."""
    return await with_header(jwk={"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ", "d": "AQ"})


@refused("proof.key_refused")
async def key_for_another_algorithm() -> Record:
    """A proof whose key does not fit its algorithm."""
    return await with_header(alg="ES384")


@refused("proof.signature_invalid")
async def changed_on_its_way() -> Record:
    """The signature of another proof."""
    site = Site()
    proof, other = site.headers()["DPoP"], site.headers()["DPoP"]
    forged = f"{proof.rpartition('.')[0]}.{other.rpartition('.')[2]}"
    return await sent(site, {"Authorization": f"DPoP {site.token}", "DPoP": forged})


@refused("proof.method_mismatch")
async def other_method() -> Record:
    """The proof of another request."""
    return await changed(htm="POST")


@refused("proof.uri_mismatch")
async def other_host() -> Record:
    """A proof that was made for another site."""
    return await changed(htu="https://evil.example/orders?page=2")


@refused("proof.uri_mismatch")
async def no_uri() -> Record:
    """A path alone."""
    return await changed(htu="/orders")


@refused("proof.expired")
async def old() -> Record:
    """A proof of two minutes ago."""
    return await changed(iat=Site().clock.now - 121)


@refused("proof.not_yet_valid")
async def early() -> Record:
    """A proof of a client whose clock is ahead."""
    return await changed(iat=Site().clock.now + 90)


@refused("proof.token_mismatch")
async def other_token() -> Record:
    """The proof of a request with another token."""
    return await changed(ath="x")


@refused("proof.replayed")
async def again() -> Record:
    """The same request twice."""
    site = Site()
    headers = site.headers()
    await site.send(headers)
    return await sent(site, headers)


@refused("proof.nonce_missing")
async def without_nonce() -> Record:
    """A first request."""
    site = Site(require_nonce=True)
    return await sent(site, site.headers())


@refused("proof.nonce_stale")
async def old_nonce() -> Record:
    """A nonce of six minutes ago."""
    site = Site(require_nonce=True)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    site.clock.move(360)
    return await sent(site, site.headers(nonce=nonce))


@refused("proof.nonce_unknown")
async def nonce_of_another_server() -> Record:
    """The nonce of the authorization server."""
    return await changed(nonce="eyJ7S_zG.eyJH0-Z.HX4w-7v")


@refused("proof.forgotten")
async def after_a_start() -> Record:
    """The first request after a start."""
    clock = Site().clock
    site = Site(proofs=MemoryProofs(clock=clock))
    return await sent(site, site.headers())
