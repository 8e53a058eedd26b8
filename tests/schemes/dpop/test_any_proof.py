"""Whatever a client sends as its proof: one answer, nobody let in, and the same decision however it is made."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, cast

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from authguard import Guard
from authguard.wire.dpop_proof import base64url
from authguard.wire.jws import base64url_decode
from tests.core.two_ways import CarefulGuard
from tests.schemes.dpop.site import Site
from tests.security.token_strategies import mutated
from tests.support.asgi import Exchange, http_scope, run_app
from tests.support.coroutines import run_without_waiting
from tests.support.guards import REASON_CODES

Lines = list[tuple[bytes, bytes]]


@cache
def good() -> tuple[Site, Lines]:
    """A site, and the lines of a good request. Each example has its own store, so that the proof is never spent."""
    site = Site()
    fields = site.headers(jti="1")
    return site, [(b"authorization", fields["Authorization"].encode()), (b"dpop", fields["DPoP"].encode())]


def site_of_the_client(**options: Any) -> Site:
    """A site that knows the client, and where no proof was used yet."""
    other = Site(**options)
    other.issuer, other.client = good()[0].issuer, good()[0].client
    other.dpop.replace(other.issuer.as_issuer())
    return other


def _one_of(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of([st.builds(dict, **{name: value}) for name, value in values.items()])


_proof, _line = good()[1][1][1], good()[1][0]
_odd: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=20)
    | st.lists(st.text(max_size=3), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
_urls = st.builds(
    "{}{}{}".format,
    st.sampled_from(["https://", "http://", "//", "HTTPS://", ""]),
    st.text("api.exml@:[]%\\/#? \0\n443e\u0131", max_size=20) | st.just("api.example"),
    st.sampled_from(["/orders", "/Orders", "/a/../orders", "/%6frders", "%", "/%zz", "?", ""]),
)
_jwks = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k", "alg"]),
    st.sampled_from(["EC", "OKP", "RSA", "oct", "P-256", "Ed25519", "AQAB", "A" * 43, "A" * 342, "", "\xff"]) | _odd,
    max_size=6,
)
#: One member of the header, or one claim, and what is in its place.
_headers = _one_of(
    typ=_odd,
    alg=st.sampled_from(["EdDSA", "PS256", "none", "HS256"]) | _odd,
    jwk=_jwks | _odd,
    crit=_odd,
    b64=_odd,
)
_changes = _one_of(
    jti=_odd,
    htm=_odd,
    htu=_urls | _odd,
    iat=st.integers(-(10**30), 10**30) | st.floats() | _odd,
    ath=_odd,
    nonce=_odd,
)


def _members(part: bytes) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(base64url_decode(part)))


def _part(members: dict[str, Any]) -> str:
    return base64url(json.dumps(members).encode())


def _changed(header: dict[str, Any], claims: dict[str, Any], *, is_signed: bool) -> bytes:
    """The good proof with other members and claims, which the client has signed itself, or which nobody has."""
    old_header, old_claims, signature = _proof.split(b".")
    text = f"{_part({**_members(old_header), **header})}.{_part({**_members(old_claims), **claims})}".encode()
    if is_signed:
        key: Any = good()[0].client._key
        signature = base64url(ECAlgorithm(ECAlgorithm.SHA256).sign(text, key)).encode()
    return text + b"." + signature


_nothing: st.SearchStrategy[dict[str, Any]] = st.just({})
_made = st.builds(_changed, _nothing | _headers, _nothing, is_signed=st.booleans()) | st.builds(
    _changed, _nothing, _changes, is_signed=st.just(True)
)
_texts = st.binary(max_size=40) | st.text('Aa0.-_~+/= ,"\\\t\0\xff{}', max_size=40).map(
    lambda text: text.encode("latin-1")
)
_proofs = mutated(_proof) | _made | _texts | st.just(_proof)
_sent = _made.map(lambda proof: [proof]) | _proofs.map(lambda proof: [proof]) | st.lists(_proofs, max_size=2)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_sent)
def test_no_proof_is_an_outage_or_lets_anybody_in(proofs: list[bytes]) -> None:
    """One answer, one record and a known reason; what is accepted is one proof of the client, for this token and
    method.
    """
    site = site_of_the_client()
    lines = [_line, *((b"dpop", proof) for proof in proofs)]
    exchange = run_without_waiting(run_app(site.app, http_scope("/orders", headers=lines)))

    assert len(site.records) == 1
    if exchange.status == 200:
        [proof] = proofs
        header, claims = map(_members, proof.strip().split(b".")[:2])
        assert {name: header[name] for name in ("typ", "alg", "jwk")} == _members(_proof.split(b".")[0])
        assert (claims["htm"], claims["ath"]) == ("GET", _members(_proof.split(b".")[1])["ath"])
    else:
        assert exchange.status == 401
        assert site.records[0].reason in REASON_CODES - {"backend.failed"}


def _said(exchange: Exchange, site: Site) -> object:
    """The answer, with its nonce left out, and the records."""
    sent = [{**message, "headers": _without_nonce(message.get("headers", []))} for message in exchange.sent]
    return sent, site.records


def _without_nonce(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name, b"" if name == b"dpop-nonce" else value) for name, value in headers]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_sent, st.booleans())
def test_both_ways_to_decide_agree(proofs: list[bytes], require_nonce: bool) -> None:
    """What is decided at once, and what is decided by awaiting everything with no cache, is the same in each byte."""
    lines = [_line, *((b"dpop", proof) for proof in proofs)]
    lean = site_of_the_client(kind=Guard, require_nonce=require_nonce)
    careful = site_of_the_client(kind=CarefulGuard, require_nonce=require_nonce, cache=0)

    at_once = run_without_waiting(run_app(lean.app, http_scope("/orders", headers=lines)))
    awaited = anyio.run(run_app, careful.app, http_scope("/orders", headers=lines))

    assert _said(at_once, lean) == _said(awaited, careful)
