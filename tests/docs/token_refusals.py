"""Refusals of tokens and keys for ``docs/reasons.md``, as in ``tests/docs/refusals.py``."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from authguard import (
    Bearer,
    Issuer,
    MemoryRevocations,
    Record,
    Revocation,
    Rule,
    TokenLookup,
    VerificationKey,
    claim,
    role,
    scopes,
)
from authguard.http_client import Fetched
from authguard.keys import FetchFailed
from authguard.keys.fetch_budget import FETCH_BURST
from authguard.schemes.bearer.introspection_client import AT_ONCE, WAITING
from tests.docs.refusals import Site, bearer, refused, token
from tests.support.clock import NOW
from tests.support.key_source import StubbedSource
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, introspection
from tests.support.tokens import (
    AUDIENCE,
    HMAC_SECRET,
    ISSUER,
    claims,
    key_set,
    mint,
    rsa_key,
    unsigned_token,
    with_signature,
)


async def rejected(field: str, **issuer: Any) -> Record:
    """The record of a request with this field, where the issuer has these options."""
    return await Site(bearer(**issuer)).send(field)


@refused("token.malformed")
async def two_parts() -> Record:
    """A token that has lost its signature."""
    return await rejected(token().rpartition(".")[0])


@refused("token.malformed")
async def undefined() -> Record:
    """A program that has no token."""
    return await rejected("Bearer undefined")


@refused("token.malformed")
async def odd_header() -> Record:
    """A header member of the wrong type."""
    return await rejected(f"Bearer {unsigned_token({'alg': 'HS256', 'kid': 5}).decode()}.AAAA")


@refused("token.too_long")
async def long_token() -> Record:
    """A token of 9,000 bytes."""
    return await rejected("Bearer " + "a" * 9000)


@refused("token.algorithm_refused")
async def other_algorithm() -> Record:
    """A token that is signed with another algorithm."""
    return await rejected(f"Bearer {mint(HMAC_SECRET, 'HS384')}")


@refused("token.critical_unknown")
async def critical() -> Record:
    """A header that says that something must be understood."""
    return await rejected(f"Bearer {mint(HMAC_SECRET, 'HS256', headers={'crit': ['b64'], 'b64': True})}")


@refused("token.type_refused")
async def other_type() -> Record:
    """A token of another type."""
    return await rejected(f"Bearer {mint(HMAC_SECRET, 'HS256', headers={'typ': 'logout+jwt'})}")


@refused("token.signature_invalid")
async def other_key() -> Record:
    """A token that another key has signed."""
    return await rejected(f"Bearer {mint(HMAC_SECRET[::-1], 'HS256')}")


@refused("token.signature_invalid")
async def for_another_api() -> Record:
    """A token for another API of the same provider, R009."""
    field = mint(HMAC_SECRET[::-1], "HS256", headers={"nonce": "x"}, aud="https://graph.example")
    return await rejected(f"Bearer {field}")


@refused("token.signature_invalid")
async def cut_off() -> Record:
    """A signature that has lost its end."""
    signing_input = unsigned_token({"alg": "HS256"})
    return await rejected(f"Bearer {with_signature(signing_input, bytes(30)).decode()}")


@refused("token.issuer_unknown")
async def other_issuer() -> Record:
    """A token of another issuer."""
    return await rejected(token(iss="https://login.example"))


@refused("token.issuer_unknown")
async def unlisted_tenant() -> Record:
    """A token of a tenant that is not listed."""
    template = "https://login.example/{tid}/v2.0"
    return await rejected(token(iss="https://login.example/evil/v2.0"), name=template, tenants=["home"])


@refused("token.audience_mismatch")
async def with_scheme() -> Record:
    """An audience that differs by a prefix."""
    return await rejected(token(aud="api://orders"))


@refused("token.audience_mismatch")
async def other_audience() -> Record:
    """A token for another API."""
    return await rejected(token(aud="billing"))


@refused("token.claim_missing")
async def no_end() -> Record:
    """A token that never ends."""
    return await rejected(token(exp=...))


@refused("token.claim_missing")
async def of_a_user() -> Record:
    """A token of a user without the claim of its subject: it must not become its client."""
    return await rejected(token(azp="shop"), subject=[claim("email"), claim("azp")])


@refused("token.claim_missing")
async def no_issuer() -> Record:
    """A token without ``iss``, N04."""
    return await rejected(token(iss=..., issuer=ISSUER))


@refused("token.claim_invalid")
async def milliseconds() -> Record:
    """An ``exp`` in milliseconds."""
    return await rejected(token(exp=int(NOW) * 1000))


@refused("token.claim_invalid")
async def other_tenant() -> Record:
    """A token whose tenant is not that of ``iss``."""
    name = "https://login.example/{tid}"
    return await rejected(token(iss="https://login.example/a", tid="b"), name=name, tenants={"a", "b"})


@refused("token.claim_invalid")
async def number() -> Record:
    """A subject that is a number."""
    return await rejected(unsigned_sub())


def unsigned_sub() -> str:
    """A token whose ``sub`` is a number."""
    return f"Bearer {_signed(claims(sub=42))}"


def _signed(payload: dict[str, Any]) -> str:
    signing_input = unsigned_token({"alg": "HS256"}, payload)
    return with_signature(signing_input, hmac.new(HMAC_SECRET, signing_input, hashlib.sha256).digest()).decode()


@refused("token.expired")
async def expired() -> Record:
    """A token that ended some time ago."""
    return await rejected(token(exp=NOW - 64))


@refused("token.not_yet_valid")
async def early() -> Record:
    """A token that is not valid yet."""
    return await rejected(token(nbf=NOW + 90))


@refused("token.not_yet_valid")
async def local_time() -> Record:
    """A local time that was written as if it were UTC."""
    return await rejected(token(nbf=NOW + 7200))


@refused("token.issued_in_future")
async def future() -> Record:
    """A token of an issuer whose clock is ahead."""
    return await rejected(token(iat=NOW + 90))


@refused("token.bound")
async def bound() -> Record:
    """A token that is bound to a key."""
    return await rejected(token(cnf={"jkt": "x"}))


def is_paying(read: Mapping[str, Any]) -> bool:
    """A check of the issuer's own."""
    return False


@refused("token.check_refused")
async def checked() -> Record:
    """A ``check=`` of the issuer that returns False."""
    return await rejected(token(), check=is_paying)


@refused("credentials.missing")
async def logged_in_by_a_proxy() -> Record:
    """A token in a field of the proxy's own, R064."""
    return await Site(bearer()).send(fields={"cf-access-jwt-assertion": token()})


@refused("role.missing")
async def dotted_path() -> Record:
    """A role that is not where it is looked for, N07."""
    scheme = bearer(roles=claim("realm_access.roles"))
    field = token(roles=..., realm_access={"roles": ["admin"]})
    return await Site(scheme, rules=[Rule("/orders", role("admin"))]).send(field)


@refused("role.missing")
async def other_case() -> Record:
    """A role that is written otherwise, N07."""
    return await Site(bearer(), rules=[Rule("/orders", role("admin"))]).send(token(roles=["Admin"]))


@refused("scope.missing")
async def other_claim() -> Record:
    """Scopes in another claim, N07."""
    return await Site(bearer(), rules=[Rule("/orders", scopes("read"))]).send(token(scope=..., scp=["read"]))


@refused("token.inactive")
async def inactive() -> Record:
    """A token that the introspection endpoint does not know."""
    scheme = Bearer(introspection(IntrospectionServer({"active": False})), realm="orders")
    return await Site(scheme).send(f"Bearer {OPAQUE_TOKEN}")


@refused("token.inactive")
async def unknown_to_the_lookup() -> Record:
    """A token that the app's own database does not have."""

    async def find(digest: str) -> None:
        return None

    return await Site(Bearer(TokenLookup(find), realm="orders")).send(f"Bearer {OPAQUE_TOKEN}")


@refused("token.revoked")
async def revoked_token() -> Record:
    """A token that was revoked."""
    return await revoked(Revocation.token("t-81", expires_at=NOW + 600), jti="t-81")


@refused("session.revoked")
async def revoked_session() -> Record:
    """A token of a session that was revoked."""
    return await revoked(Revocation.session("s-1", expires_at=NOW + 600), sid="s-1")


@refused("subject.revoked")
async def revoked_subject() -> Record:
    """A token from before the time until which all of the subject's were revoked."""
    return await revoked(Revocation.subject("alice", before=NOW - 20, expires_at=NOW + 600))


@refused("subject.revoked")
async def revoked_subject_without_a_time() -> Record:
    """A token that does not say when it was issued."""
    return await revoked(Revocation.subject("alice", before=NOW - 20, expires_at=NOW + 600), iat=...)


async def revoked(revocation: Revocation, **changes: Any) -> Record:
    """The record of a token with these changes, with this revocation."""
    store = MemoryRevocations(clock=lambda: NOW)
    await store.revoke(revocation)
    return await Site(bearer(), revocations=store).send(token(**changes))


async def with_source(source: StubbedSource) -> Record:
    """The record of a token whose key ``old`` comes from this source."""
    scheme = Bearer(Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=source.keys), realm="orders")
    return await Site(scheme).send(f"Bearer {unverified('old')}")


@refused("key.unknown")
async def unknown_key() -> Record:
    """A key that the issuer does not publish."""
    return await with_source(StubbedSource("new"))


@refused("key.unknown")
async def skipped_key() -> Record:
    """A key that is in the set and is not for signatures."""
    source = StubbedSource("new")
    source.server.answer = Fetched(key_set({"kty": "RSA", "kid": "old", "use": "enc"}, new=rsa_key()))
    return await with_source(source)


class SlowKeys:
    """A key source that never answers."""

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        await anyio.sleep_forever()
        return ()


@refused("keys.timeout")
async def keys_slow() -> Record:
    """A key source that takes longer than ``deadline``."""
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=SlowKeys())
    return await Site(Bearer(issuer, realm="orders", deadline=0.01)).send(token())


@refused("keys.busy")
async def no_fetch_left() -> Record:
    """A token that may be newer than the keys, after too many tokens with unknown keys."""
    source = StubbedSource("new")
    scheme = Bearer(Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=source.keys), realm="orders")
    site = Site(scheme)
    for number in range(FETCH_BURST + 1):
        await site.send(f"Bearer {unverified(f'invented-{number}', iat=NOW - 3600)}")
    source.clock.move(12.5)
    return await site.send(f"Bearer {unverified('newer', iat=NOW)}")


def unverified(kid: str, **changes: Any) -> str:
    """A token that names this key, with a signature that no key has made."""
    return with_signature(unsigned_token({"alg": "RS256", "kid": kid}, claims(**changes)), bytes(256)).decode()


async def introspected(server: IntrospectionServer, **options: Any) -> Record:
    """The record of an opaque token that this server is asked about."""
    scheme = Bearer(introspection(server, **options), realm="orders")
    return await Site(scheme).send(f"Bearer {OPAQUE_TOKEN}")


@refused("introspection.unavailable")
async def endpoint_down() -> Record:
    """An introspection endpoint that answers with an error."""
    return await introspected(IntrospectionServer((401, b"{}")))


@refused("introspection.timeout")
async def endpoint_slow() -> Record:
    """An introspection endpoint that takes longer than ``deadline``."""
    server = IntrospectionServer()
    server.hold = anyio.Event()
    return await introspected(server, deadline=0.01)


@refused("introspection.busy")
async def many_tokens() -> Record:
    """A token while as many wait as may to be asked about."""
    server = IntrospectionServer()
    server.hold = anyio.Event()
    site = Site(Bearer(introspection(server), realm="orders"))
    records: list[Record] = []
    async with anyio.create_task_group() as tasks:
        for number in range(AT_ONCE + WAITING):
            tasks.start_soon(site.send, f"Bearer {OPAQUE_TOKEN}{number}")
        await anyio.wait_all_tasks_blocked()
        records += [await site.send(f"Bearer {OPAQUE_TOKEN}")]
        server.hold.set()
    return records[0]


@refused("keys.unavailable")
async def keys_down() -> Record:
    """A key server that cannot be reached."""
    source = StubbedSource("new")
    source.server.answer = OSError()
    return await with_source(source)


async def metadata_of(**changes: str) -> Record:
    """The record of a token whose issuer publishes such metadata."""

    async def fetch(url: str) -> bytes:
        if url.endswith("openid-configuration"):
            return json.dumps({"issuer": ISSUER, "jwks_uri": "https://login.example/jwks", **changes}).encode()
        raise FetchFailed("it answers with status 404")

    issuer = Issuer.discover(ISSUER, audience=AUDIENCE, algorithms=["RS256"], fetch=fetch)
    return await Site(Bearer(issuer, realm="orders")).send(f"Bearer {unverified('old')}")


@refused("keys.unavailable")
async def other_metadata() -> Record:
    """Metadata of another issuer, R006."""
    return await metadata_of(issuer="https://login.example")


@refused("keys.unavailable")
async def insecure_keys() -> Record:
    """Keys over http, R006."""
    return await metadata_of(jwks_uri="http://login.example/jwks")


@refused("keys.unavailable")
async def no_usable_key() -> Record:
    """A key set of keys that are for something else."""
    source = StubbedSource("new")
    source.server.answer = Fetched(key_set({"kty": "RSA", "kid": "new", "use": "enc"}))
    return await with_source(source)


@refused("keys.unavailable")
async def redirected() -> Record:
    """A key server that redirects, as httpx2 is told to report it."""
    source = StubbedSource("new")
    location = {"location": "https://login.example/keys"}
    source.server.answer = FetchFailed("it redirects, which is not followed", location)
    return await with_source(source)


@refused("keys.unavailable")
async def not_reached() -> Record:
    """A key server that refuses the connection."""
    source = StubbedSource("new")
    source.server.answer = FetchFailed("it cannot be reached", {"cause": "Connection refused"})
    return await with_source(source)


@refused("introspection.unavailable")
async def endpoint_not_reached() -> Record:
    """An introspection endpoint whose certificate nobody trusts."""

    async def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        error = ssl.SSLCertVerificationError()
        error.verify_message = "self-signed certificate"
        raise error

    return await introspected(IntrospectionServer(), post=post)
