"""A token that is bound to a certificate is of use with that certificate alone. RFC 8705 section 3."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, cast

import pytest

from authguard import (
    ApiKeys,
    BackendUnavailable,
    Bearer,
    ConfigurationError,
    Dpop,
    Failure,
    Introspection,
    Issuer,
    MemoryApiKeys,
    MemoryProofs,
    Principal,
    TlsExtension,
    TokenLookup,
    VerificationKey,
)
from authguard.schemes import CertificateSource
from authguard.testing import DpopKey, TestIssuer
from authguard.wire.dpop_proof import base64url
from tests.schemes.mutual_tls.site import ALICE, HERS, HIS, PROXY, THIEF, Site
from tests.support.asgi import http_scope, run_app
from tests.support.schemes.api_key import key_text, stored_key


class SlowKeys:
    """A store of API keys that must be awaited."""

    def __init__(self, keys: Any) -> None:
        self._keys = MemoryApiKeys(keys)

    async def find(self, key_id: str) -> Any:
        return await self._keys.find(key_id)


@pytest.mark.rfc("8705-1")
async def test_the_certificate_of_the_request_must_be_that_of_the_token() -> None:
    """8705-1: hers passes; that of the thief, and none, are 401 invalid_token."""
    site = Site()

    assert (await site.send(HERS)).body == b"alice"
    for fields, reason in (((HIS,), "certificate.mismatch"), ((), "certificate.missing")):
        answer = await site.send(*fields)
        [challenge] = answer.lines(b"www-authenticate")
        assert (answer.status, site.records[-1].reason) == (401, reason)
        assert 'error="invalid_token"' in challenge


@pytest.mark.rfc("8705-2")
async def test_a_remembered_token_is_compared_again() -> None:
    """8705-2: the thief sends it directly after her, and she after him, whose refusal spoils nothing."""
    site = Site()

    answers = [await site.said(*fields) for fields in [(HERS,), (HIS,), (HERS,), (), (HERS,), (HIS,)]]

    mismatch, missing = "certificate.mismatch", "certificate.missing"
    assert answers == [None, mismatch, None, missing, None, mismatch]


async def test_the_record_of_a_mismatch_names_both_thumbprints() -> None:
    """So an operator finds out whose certificate it was. No secret is in them."""
    site = Site()
    await site.said(HIS)

    facts = dict(site.facts)
    facts.pop("token")
    assert facts == {"found": THIEF.cnf["x5t#S256"], "wanted": ALICE.cnf["x5t#S256"]}
    assert site.records[-1].subject == "alice"


async def test_an_unbound_token_needs_no_certificate() -> None:
    """Unless it must be bound; it is not remembered as accepted then, either."""
    free, strict = Site(), Site(require_bound=True)
    for site in (free, strict):
        site.token = site.issuer.token("alice")

    assert [await free.said(), await free.said(HIS), await free.said()] == [None] * 3
    assert [await strict.said(), await strict.said(HERS)] == ["token.unbound"] * 2
    assert (strict.facts["cnf"], strict.facts["wanted"]) == ((), "x5t#S256")


@pytest.mark.rfc("8705-4")
@pytest.mark.parametrize(
    ("cnf", "reason"),
    [
        ({**ALICE.cnf, "jkt": "x"}, "token.bound"),
        ({"jkt": "x"}, "token.bound"),
        ({**ALICE.cnf, "kid": "x"}, "token.bound"),
        ({}, "token.bound"),
        ("x", "token.bound"),
        ({"x5t#S256": 7}, "token.claim_invalid"),
        ({"x5t#S256": ""}, "certificate.mismatch"),
        ({"x5t#S256": "\xff"}, "certificate.mismatch"),
        ({"x5t#S256": ALICE.cnf["x5t#S256"] + "="}, "certificate.mismatch"),
        ({"x5t#S256": ALICE.cnf["x5t#S256"][:-1]}, "certificate.mismatch"),
    ],
    ids=["both", "jkt", "unknown", "empty", "text", "number", "no-hash", "latin", "padded", "short"],
)
async def test_each_member_of_the_confirmation_must_hold(cnf: Any, reason: str) -> None:
    """8705-4: one that the scheme does not check is not ignored: it may be the one that the token needs."""
    site = Site()
    site.token = site.issuer.token("alice", cnf=cnf)

    assert [await site.said(HERS), await site.said(HERS)] == [reason] * 2


async def test_without_a_source_a_bound_token_is_refused_as_ever() -> None:
    """Also with the right certificate: nobody has said that the field is to be believed."""
    site = Site(client_certificate=None)

    assert await site.said(HERS) == "token.bound"
    assert "client_certificate=" in str(site.facts["wanted"])


async def test_a_token_that_waits_for_its_key_is_compared_too() -> None:
    """The keys of this issuer are not in memory."""
    site = Site()

    issuer = site.issuer.as_issuer()

    class Slow:
        """A source that is asked for each token."""

        async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
            held: Any = issuer.held
            return cast("Sequence[VerificationKey]", held(kid=kid, algorithm=algorithm))

    site.bearer.replace(Issuer(site.issuer.issuer, audience="tests", algorithms=["ES256"], keys=Slow()))

    assert [await site.said(HERS), await site.said(HIS)] == [None, "certificate.mismatch"]


async def test_a_token_of_the_apps_database_is_compared() -> None:
    """Its principal has the claim cnf."""

    async def find(digest: str) -> Principal:
        return Principal("alice", claims={"cnf": ALICE.cnf})

    site = Site(issuers=[TokenLookup(find)])

    answers = [await site.said(*fields, token="opaque") for fields in [(HERS,), (HIS,), ()]]

    assert answers == [None, "certificate.mismatch", "certificate.missing"]
    assert (len(str(site.facts["token"])), site.records[-1].subject) == (8, "alice")


@pytest.mark.rfc("8705-3")
async def test_an_introspected_token_is_compared() -> None:
    """8705-3: the answer of the endpoint has the same member. It is kept, and the certificate is compared each time."""
    calls = []

    async def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        calls.append(body)
        answer = {"active": True, "sub": "alice", "iss": "https://login.example/", "aud": "orders", "cnf": ALICE.cnf}
        return 200, json.dumps(answer).encode()

    source = Introspection(
        "https://login.example/introspect",
        issuer="https://login.example/",
        audience="orders",
        client_id="orders",
        client_secret="s",
        remember=60,
        post=post,
    )
    site = Site(issuers=[source])

    answers = [await site.said(*fields, token="opaque") for fields in [(HERS,), (HIS,), (), (HERS,)]]

    assert answers == [None, "certificate.mismatch", "certificate.missing", None]
    assert len(calls) == 1


async def test_an_introspected_token_of_dpop_is_none_of_bearer() -> None:
    """Its type says that it needs a proof, which a certificate is not."""

    async def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        return 200, b'{"active":true,"sub":"alice","iss":"https://login.example/","aud":"orders","token_type":"DPoP"}'

    source = Introspection(
        "https://login.example/introspect",
        issuer="https://login.example/",
        audience="orders",
        client_id="orders",
        client_secret="s",
        post=post,
    )

    assert await Site(issuers=[source]).said(HERS, token="opaque") == "token.type_refused"


async def test_an_outage_stays_an_outage() -> None:
    """503, and not that the certificate is missing."""

    async def find(digest: str) -> Principal:
        raise BackendUnavailable("away")

    assert await Site(issuers=[TokenLookup(find)]).said(token="opaque") == "store.unavailable"


class Fixed(CertificateSource):
    """A source of the app's own."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def find(self, request: Any) -> bytes | Failure:
        return self.found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ALICE.der, None),
        (THIEF.der, "certificate.mismatch"),
        (ALICE.der + b"\0", "certificate.invalid"),
        (ALICE.der[:-1], "certificate.invalid"),
        (b"", "certificate.invalid"),
        (b"\x30\x03\x02\x01\x01", "certificate.invalid"),
        (b"\x30" * 20_000, "certificate.invalid"),
        (None, "backend.failed"),
    ],
    ids=["hers", "his", "trailing", "cut", "empty", "other-der", "long", "none"],
)
async def test_a_source_of_the_app_gives_der(found: Any, reason: str | None) -> None:
    """What is no certificate, the whole of it, is refused. A source that answers nothing is a failure of the app."""
    assert await Site(client_certificate=Fixed(found)).said() == reason


async def test_what_is_no_certificate_is_refused_even_if_its_hash_fits() -> None:
    """An issuer that has bound a token to something else has made a mistake."""
    site = Site(client_certificate=Fixed(b"no certificate"))
    site.token = site.issuer.token("alice", cnf={"x5t#S256": base64url(sha256(b"no certificate").digest())})

    assert await site.said() == "certificate.invalid"


# --- DPoP beside it ---------------------------------------------------------------------------------------------------


def dpop_site(**options: Any) -> tuple[Site, DpopKey]:
    """A site that takes DPoP, too, and the key of a client."""
    site = Site()
    scheme = Dpop(
        site.issuer.as_issuer(),
        realm="orders",
        public_url="https://api.example",
        secret="s" * 32,
        proofs=MemoryProofs(clock=site.clock),
        clock=site.clock,
        **options,
    )
    both = Site(scheme)
    site.clock.move(900)
    both.clock.move(900)
    scheme.replace(both.issuer.as_issuer())
    return both, DpopKey(clock=both.clock)


async def dpop_said(site: Site, key: DpopKey, *fields: tuple[bytes, bytes], **cnf: str) -> str | None:
    """The reason for a request with a proof, whose token is bound to the key and to these."""
    token = site.issuer.token("alice", cnf={**key.cnf, **cnf})
    headers = key.headers(token, "GET", "https://api.example/orders")
    listed = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
    await run_app(site.app, http_scope("/orders", headers=[*listed, *fields], client=PROXY))
    return site.records[-1].reason


async def test_dpop_compares_both() -> None:
    """A token may be bound to a key and to a certificate, and each of them must hold."""
    site, key = dpop_site(client_certificate=Site().bearer.client_certificate)

    assert await dpop_said(site, key, HERS, **ALICE.cnf) is None
    assert await dpop_said(site, key, HIS, **ALICE.cnf) == "certificate.mismatch"
    assert await dpop_said(site, key, **ALICE.cnf) == "certificate.missing"
    assert await dpop_said(site, key, HIS) is None
    assert await dpop_said(site, key, HERS, **ALICE.cnf, kid="x") == "token.bound"
    assert await dpop_said(site, key, HERS, **{**ALICE.cnf, "jkt": "x"}) == "token.key_mismatch"


async def test_dpop_without_a_source_refuses_a_token_that_is_bound_to_a_certificate_too() -> None:
    """Formerly it compared the key alone."""
    site, key = dpop_site()

    assert await dpop_said(site, key) is None
    assert await dpop_said(site, key, HERS, **ALICE.cnf) == "token.bound"
    assert "RFC 8705" in str(site.facts["wanted"])


# --- the TLS extension ------------------------------------------------------------------------------------------------

TLS = ALICE.extensions["tls"]


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        (ALICE.extensions, None),
        ({"tls": {**TLS, "client_cert_chain": (ALICE.pem, THIEF.pem)}}, None),
        ({"tls": {**TLS, "client_cert_chain": [THIEF.pem, ALICE.pem]}}, "certificate.mismatch"),
        (THIEF.extensions, "certificate.mismatch"),
        (None, "certificate.missing"),
        ({}, "certificate.missing"),
        ({"tls": {}}, "certificate.missing"),
        ({"tls": {**TLS, "client_cert_chain": None}}, "certificate.missing"),
        ({"tls": {**TLS, "client_cert_chain": []}}, "certificate.missing"),
        ({"tls": {**TLS, "client_cert_error": "self-signed certificate"}}, "certificate.invalid"),
        ({"tls": {**TLS, "client_cert_chain": [ALICE.der]}}, "certificate.invalid"),
        ({"tls": {**TLS, "client_cert_chain": ["x"]}}, "certificate.invalid"),
        ({"tls": {**TLS, "client_cert_chain": ["\ud800"]}}, "certificate.invalid"),
        ({"tls": {**TLS, "client_cert_chain": [""]}}, "certificate.invalid"),
        ({"tls": {**TLS, "client_cert_chain": [" " * 20_000 + ALICE.pem]}}, "certificate.invalid"),
    ],
    ids=[
        "hers",
        "chain",
        "other-first",
        "his",
        "none",
        "no-tls",
        "empty-tls",
        "null",
        "no-certificate",
        "error",
        "der",
        "text",
        "surrogate",
        "blank",
        "long",
    ],
)
async def test_the_tls_extension_of_asgi(extensions: Any, reason: str | None) -> None:
    """The first of the chain counts, in PEM. Without the extension nobody knows a certificate."""
    assert await Site(client_certificate=TlsExtension()).said(extensions=extensions) == reason


async def test_a_scope_without_extensions_has_no_certificate() -> None:
    """A server need not have the member."""
    assert await Site(client_certificate=TlsExtension()).said() == "certificate.missing"


# --- what is refused when the app is built ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["Client-Cert", TlsExtension, object()], ids=["text", "class", "object"])
def test_what_is_no_source_is_refused(source: Any) -> None:
    """The error names the argument and what to write."""
    with pytest.raises(ConfigurationError, match=r"client_certificate: .*TlsExtension\(\)"):
        Bearer(TestIssuer().as_issuer(), realm="orders", client_certificate=source)


def test_bound_tokens_need_a_source() -> None:
    """Nobody could get in, so that it is a mistake."""
    with pytest.raises(ConfigurationError, match="require_bound: say where"):
        Bearer(TestIssuer().as_issuer(), realm="orders", require_bound=True)


def test_the_flag_is_a_flag() -> None:
    """A text is none."""
    wrong: Any = "no"
    with pytest.raises(ConfigurationError, match="require_bound"):
        Bearer(TestIssuer().as_issuer(), realm="orders", require_bound=wrong, client_certificate=TlsExtension())


def test_nothing_of_certificates_is_loaded_without_need() -> None:
    """A Bearer without a source imports no parser of certificates."""
    program = (
        "import secrets, sys; from authguard import Bearer, Issuer, Secret; key = Secret(secrets.token_urlsafe(32)); "
        "Bearer(Issuer('https://a.example/', audience='a', algorithms=['HS256'], keys=key), realm='a'); "
        "assert 'authguard.schemes.bearer.client_certificate' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", [MemoryApiKeys, SlowKeys], ids=["at-once", "later"])
@pytest.mark.parametrize(("required", "reason"), [(False, None), (True, "token.unbound")], ids=["may", "must"])
async def test_an_api_key_is_bound_to_nothing(kind: Any, required: bool, reason: str | None) -> None:
    """So it is refused where tokens must be bound, whether or not its store has to be awaited."""
    site = Site(
        issuers=[ApiKeys(kind([stored_key(owner="robot")]), prefix="acme", environment="live")], require_bound=required
    )

    assert await site.said(HERS, token=key_text()) == reason
    assert await site.said(token="acme_live_other") not in {None, "token.unbound"}
