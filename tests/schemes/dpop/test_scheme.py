"""The scheme DPoP as a client meets it: RFC 9449 sections 4.3, 7 to 9 and 11."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_decode

from authguard import (
    PER_PROCESS,
    BackendUnavailable,
    Bearer,
    ConfigurationError,
    Dpop,
    Guard,
    MemoryProofs,
    Principal,
    TokenLookup,
    via,
)
from authguard.middleware import AuthGuardMiddleware
from authguard.schemes.dpop.scheme import ALGORITHMS
from authguard.state.proof_store import ProofUse
from authguard.testing import DpopKey, TestIssuer
from authguard.wire.dpop_proof import base64url
from tests.schemes.dpop.site import SECRET, URL, Site
from tests.support.asgi import http_scope, run_app

ALGS = " ".join(ALGORITHMS)


async def test_a_bound_token_with_its_proof_is_accepted() -> None:
    """The principal is that of the token, and the scheme is dpop."""
    site = Site()
    answer = await site.send(site.headers())
    assert (answer.status, answer.body, site.records[-1].scheme) == (200, b"alice", "dpop")


@pytest.mark.rfc("9449-5", "9449-7")
async def test_a_stolen_token_is_of_no_use() -> None:
    """Under Bearer it is refused because it is bound, and a proof of another key does not fit it."""
    site = Site()
    assert await site.reason({"Authorization": f"Bearer {site.token}"}) == "token.bound"
    assert await site.reason(site.thief.headers(site.token, "GET", f"{URL}/orders")) == "token.key_mismatch"


@pytest.mark.rfc("9449-5")
async def test_a_proof_for_no_token_proves_nothing_of_a_token() -> None:
    """The proof of a request for a token, which has no ath, does not open the API."""
    site = Site()
    proof = site.client.proof("GET", f"{URL}/orders")
    assert await site.reason({"Authorization": f"DPoP {site.token}", "DPoP": proof}) == "proof.token_mismatch"
    assert site.records[-1].facts["found"] == "no ath"


async def test_an_unbound_token_is_refused_under_dpop() -> None:
    """A token that anybody can use must not pass as one that is bound: the thief could bring a key of its own."""
    site = Site()
    for confirmation in (..., {}, {"x5t#S256": "x"}, {"jkt": 5}, "jkt"):
        site.token = site.bound_token(cnf=confirmation)
        assert await site.reason(site.headers()) == "token.unbound"


@pytest.mark.rfc("9449-8", "9449-9")
async def test_the_challenges_name_the_algorithms_and_the_error() -> None:
    """RFC 9449 section 7.1: DPoP stands beside Bearer, and the error is on the scheme that was tried."""
    site = Site()
    bare = await site.send({})
    tried = await site.send({"Authorization": f"DPoP {site.token}"})
    assert bare.lines(b"www-authenticate") == [f'DPoP realm="orders", algs="{ALGS}"', 'Bearer realm="orders"']
    assert tried.lines(b"www-authenticate") == [
        f'DPoP realm="orders", algs="{ALGS}", error="invalid_dpop_proof"',
        'Bearer realm="orders"',
    ]


async def test_a_rule_can_ask_for_a_bound_token() -> None:
    """With via("dpop") a token of Bearer is authenticated and not enough, and only DPoP is offered."""
    issuer = TestIssuer()
    schemes = [
        Dpop(issuer.as_issuer(), realm="x", public_url=URL, secret=SECRET),
        Bearer(issuer.as_issuer(), realm="x"),
    ]
    site = Site()
    site.guard = Guard(*schemes, default=via("dpop"), hooks=[site.records.append])
    site.app = AuthGuardMiddleware(site.app.app, guard=site.guard)
    answer = await site.send(issuer.headers("alice"))
    assert (answer.status, site.records[-1].reason) == (401, "scheme.unsupported")
    assert answer.lines(b"www-authenticate") == [f'DPoP realm="x", algs="{ALGS}"']


# --- RFC 9449 section 4.3, check by check -----------------------------------------------------------------------------


@pytest.mark.rfc("9449-1")
async def test_two_proofs_are_ambiguous() -> None:
    """Check 1: two fields, the same or not, are refused."""
    site = Site()
    fields = site.headers()
    headers = [(b"authorization", fields["Authorization"].encode()), (b"dpop", fields["DPoP"].encode())]
    answer = await run_app(site.app, http_scope("/orders", headers=[*headers, headers[1]]))
    assert (answer.status, site.records[-1].reason, site.records[-1].facts["fields"]) == (401, "proof.ambiguous", 2)


@pytest.mark.rfc("9449-6")
async def test_no_proof_is_refused() -> None:
    """Check 1: without a proof the token alone is nothing."""
    assert await Site().reason({"Authorization": f"DPoP {Site().token}"}) == "proof.missing"


def signed(key: Any, algorithm: str, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A proof with any header and claims."""
    return jwt.encode(dict(claims), key, algorithm=algorithm, headers=dict(header))


CHANGED_CLAIMS = [
    ({"jti": ...}, "proof.malformed"),
    ({"htm": ...}, "proof.malformed"),
    ({"htu": ...}, "proof.malformed"),
    ({"iat": ...}, "proof.malformed"),
    ({"htm": "POST"}, "proof.method_mismatch"),
    ({"htm": "get"}, "proof.method_mismatch"),
    ({"htu": "https://api.example/other"}, "proof.uri_mismatch"),
    ({"htu": "https://evil.example/orders"}, "proof.uri_mismatch"),
    ({"htu": "http://api.example/orders"}, "proof.uri_mismatch"),
    ({"htu": "https://api.example:8443/orders"}, "proof.uri_mismatch"),
    ({"htu": "https://api.example/ORDERS"}, "proof.uri_mismatch"),
    ({"htu": "/orders"}, "proof.uri_mismatch"),
    ({"ath": ...}, "proof.token_mismatch"),
    ({"ath": "x"}, "proof.token_mismatch"),
    ({"ath": "ä"}, "proof.token_mismatch"),
    ({"nonce": "x"}, "proof.nonce_unknown"),
    ({"nonce": "ä"}, "proof.nonce_unknown"),
]


@pytest.mark.parametrize(("changed", "reason"), CHANGED_CLAIMS)
@pytest.mark.rfc("9449-2", "9449-5")
async def test_a_proof_of_something_else_is_refused(changed: dict[str, Any], reason: str) -> None:
    """Checks 3, 8, 9, 10 and 12: another method, another URI, another token, or a nonce of somebody else."""
    site = Site()
    assert await site.reason(site.headers(**changed)) == reason


@pytest.mark.rfc("9449-2")
async def test_the_proof_of_another_host_is_refused_whatever_host_says() -> None:
    """Check 9: Host and forwarded fields are those of the attacker, who relays a proof that was made for its site."""
    site = Site()
    fields = site.headers(htu="https://evil.example/orders")
    told = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example;proto=https"}
    assert await site.reason({**fields, **told}) == "proof.uri_mismatch"


SAME_URIS = [
    ("/orders", "https://api.example/orders?page=2#top"),
    ("/orders", "HTTPS://API.EXAMPLE:443/orders"),
    ("/orders", "https://api.example/%6frders"),
    ("/a/b", "https://api.example/a/x/../b"),
    ("/", "https://api.example"),
]


@pytest.mark.parametrize(("path", "htu"), SAME_URIS)
@pytest.mark.rfc("9449-3")
async def test_what_rfc_3986_calls_equivalent_is_the_same_uri(path: str, htu: str) -> None:
    """Check 9 with RFC 3986 section 6.2: clients write their URIs differently."""
    site = Site()
    assert await site.reason(site.headers(htu=htu), path) is None


@pytest.mark.rfc("9449-2")
async def test_an_encoded_path_is_compared_as_it_was_sent() -> None:
    """An encoded slash is no slash, although the decoded path is the same."""
    site = Site()
    sent: dict[str, Any] = {"raw_path": b"/a%2Fb", "path": "/a/b"}
    assert await site.reason(site.headers("/a%2fb"), **sent) is None
    assert await site.reason(site.headers("/a/b"), **sent) == "proof.uri_mismatch"


async def test_the_path_of_a_server_that_tells_no_raw_path() -> None:
    """Then the decoded path is encoded again. A percent sign in it is one, so a proof for another path does not fit."""
    site = Site()
    assert await site.reason(site.headers("/caf%C3%A9"), "/café", raw_path=None) is None
    assert await site.reason(site.headers("/a%252Fb"), "/a%2Fb", raw_path=None) is None
    assert await site.reason(site.headers("/a%2Fb"), "/a%2Fb", raw_path=None) == "proof.uri_mismatch"
    assert await site.reason(site.headers("/a"), "/\udce9", raw_path=None) == "proof.uri_mismatch"


async def test_a_path_with_a_stray_percent_sign_has_no_uri() -> None:
    """No proof can name it, so each is refused."""
    site = Site()
    assert await site.reason(site.headers("/100%25"), "/100%", raw_path=b"/100%") == "proof.uri_mismatch"


async def test_a_prefix_that_a_proxy_removes_belongs_to_the_public_url() -> None:
    """Several URLs may lead to the app; a slash at the end says nothing."""
    site = Site(public_url=["https://api.example/shop/", "https://internal.example"])
    for url in ("https://api.example/shop/orders", "https://internal.example/orders"):
        assert await site.reason(site.client.headers(site.token, "GET", url)) is None
    assert await site.reason(site.headers()) == "proof.uri_mismatch"


JWKS: dict[str, tuple[dict[str, Any], str | None]] = {
    "typ": ({"typ": "JWT"}, "proof.type_refused"),
    "no key": ({"jwk": None}, "proof.key_refused"),
    "a key that is no point": ({"jwk": {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}}, "proof.key_refused"),
    "a key of another kind": ({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": base64url(b"\x07" * 32)}}, None),
}


@pytest.mark.parametrize("name", JWKS)
@pytest.mark.rfc("9449-1")
async def test_a_proof_with_another_header_is_refused(name: str) -> None:
    """Checks 4 and 7. A key that is not the one of the token is never looked at further."""
    site = Site()
    header, reason = JWKS[name]
    key = ec.generate_private_key(ec.SECP256R1())
    claims = {"jti": "1", "htm": "GET", "htu": f"{URL}/orders", "iat": site.clock.now}
    jwk = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    proof = signed(key, "ES256", {"typ": "dpop+jwt", "jwk": jwk, **header}, {**claims, "ath": ath(site.token)})
    headers = {"Authorization": f"DPoP {site.token}", "DPoP": proof}
    assert await site.reason(headers) == (reason if name in {"typ", "no key"} else "token.key_mismatch")


def ath(token: str) -> str:
    """The hash of the token, as a proof names it."""
    return base64url(sha256(token.encode()).digest())


class OtherKey(DpopKey):
    """A key of another algorithm."""

    def __init__(self, key: Any, jwk: Mapping[str, str], algorithm: str, clock: Any) -> None:
        super().__init__(clock=clock)
        self._key, self._jwk, self._algorithm = key, dict(jwk), algorithm


def _keys() -> dict[str, tuple[Any, Mapping[str, str]]]:
    small, usual = rsa.generate_private_key(65537, 1024), rsa.generate_private_key(65537, 2048)
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
    keys: dict[str, Any] = {name: ec.generate_private_key(curve) for name, curve in curves.items()}
    found = {name: (key, json.loads(ECAlgorithm.to_jwk(key.public_key()))) for name, key in keys.items()}
    for name, key in {"small RSA": small, "RSA": usual}.items():
        found[name] = key, json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    edwards = ed25519.Ed25519PrivateKey.generate()
    found["Ed25519"] = edwards, json.loads(OKPAlgorithm.to_jwk(edwards.public_key()))
    return found


KEYS = _keys()


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
@pytest.mark.parametrize(
    ("name", "algorithm", "reason"),
    [
        ("P-256", "ES256", None),
        ("P-384", "ES384", None),
        ("Ed25519", "EdDSA", None),
        ("RSA", "PS256", None),
        ("RSA", "RS256", "proof.algorithm_refused"),
        ("small RSA", "PS256", "proof.key_refused"),
    ],
)
@pytest.mark.rfc("9449-1")
async def test_the_algorithms_of_proofs(name: str, algorithm: str, reason: str | None) -> None:
    """Checks 5 and 6: asymmetric algorithms of the list, with keys that are strong enough."""
    site = Site()
    key, jwk = KEYS[name]
    site.client = OtherKey(key, jwk, algorithm, site.clock)
    site.token = site.bound_token()
    assert [await site.reason(site.headers()) for _ in range(2)] == [reason, reason]


async def test_a_key_that_is_no_point_of_its_curve_is_refused() -> None:
    """The coordinates of the key must be those of a point on its curve, although the token is bound to the key."""
    site = Site()
    key, jwk = KEYS["P-256"]
    site.client = OtherKey(key, {**jwk, "x": jwk["y"], "y": jwk["x"]}, "ES256", site.clock)
    site.token = site.bound_token()
    assert await site.reason(site.headers()) == "proof.key_refused"
    assert "problem" in site.records[-1].facts


async def test_a_key_for_another_algorithm_is_refused() -> None:
    """Check 6: the key in the header must be one for the algorithm in the header."""
    site = Site()
    proof, other = site.headers()["DPoP"], {"alg": "ES384"}
    header, claims, signature = proof.split(".")
    changed = {**json.loads(base64url_decode(header)), **other}
    forged = f"{base64url(json.dumps(changed).encode())}.{claims}.{signature}"
    assert await site.reason({"Authorization": f"DPoP {site.token}", "DPoP": forged}) == "proof.key_refused"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "nonsense"])
@pytest.mark.rfc("9449-1")
async def test_no_proof_is_symmetric_or_unsigned(algorithm: str) -> None:
    """Check 5: whoever could verify such a proof could make it, too."""
    site = Site()
    header, claims, signature = site.headers()["DPoP"].split(".")
    changed = {**json.loads(base64url_decode(header)), "alg": algorithm}
    forged = f"{base64url(json.dumps(changed).encode())}.{claims}.{signature}"
    assert await site.reason({"Authorization": f"DPoP {site.token}", "DPoP": forged}) == "proof.algorithm_refused"


@pytest.mark.rfc("9449-1")
async def test_a_proof_that_the_key_has_not_signed_is_refused() -> None:
    """Check 6: the signature covers header and claims."""
    site = Site()
    other = site.headers(jti="other")["DPoP"].rpartition(".")[0]
    signature = site.headers()["DPoP"].rpartition(".")[2]
    headers = {"Authorization": f"DPoP {site.token}", "DPoP": f"{other}.{signature}"}
    assert await site.reason(headers) == "proof.signature_invalid"
    assert await site.reason(site.headers()) is None
    assert await site.reason(headers) == "proof.signature_invalid"


async def test_an_rsa_key_that_takes_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client asks for the verification, so the key must not be longer than 4,096 bits."""
    site = Site()
    key, jwk = KEYS["RSA"]
    site.client = OtherKey(key, jwk, "PS256", site.clock)
    site.token = site.bound_token()
    monkeypatch.setattr("authguard.schemes.dpop.scheme._MAX_RSA_BITS", 2047)
    assert await site.reason(site.headers()) == "proof.key_refused"


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (0, None),
        (119.9, None),
        (120, "proof.expired"),
        (-60, None),
        (-60.1, "proof.not_yet_valid"),
    ],
)
@pytest.mark.rfc("9449-4")
async def test_a_proof_is_of_this_time(age: float, reason: str | None) -> None:
    """Check 11: a window of 60 seconds and the leeway of the guard, in each direction."""
    site = Site()
    assert await site.reason(site.headers(iat=site.clock.now - age)) == reason


@pytest.mark.rfc("9449-11")
async def test_a_proof_is_accepted_once() -> None:
    """RFC 9449 section 11.1: the same jti of the same key is a replay, that of another key is not."""
    site = Site()
    headers = site.headers(jti="1")
    assert [await site.reason(headers), await site.reason(headers)] == [None, "proof.replayed"]
    site.client = site.thief
    site.token = site.bound_token()
    assert await site.reason(site.headers(jti="1")) is None


async def test_of_many_at_the_same_time_one_passes() -> None:
    """The store decides in one step."""
    site = Site()
    headers = site.headers()
    answers = [answer.status for answer in [await site.send(headers) for _ in range(20)]]
    assert sorted(answers)[:2] == [200, 401]


# --- nonces -----------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9449-10")
async def test_a_nonce_is_asked_for_and_accepted() -> None:
    """RFC 9449 section 9: 401 use_dpop_nonce with a nonce, and each later answer brings the next one, uncached."""
    site = Site(require_nonce=True)
    asked = await site.send(site.headers())
    [nonce] = asked.lines(b"dpop-nonce")
    granted = await site.send(site.headers(nonce=nonce))
    assert (asked.status, granted.status) == (401, 200)
    assert asked.lines(b"www-authenticate")[0].endswith('error="use_dpop_nonce"')
    assert (granted.lines(b"cache-control"), len(granted.lines(b"dpop-nonce"))) == (["no-store"], 1)
    assert site.records[-2].reason == "proof.nonce_missing"


@pytest.mark.rfc("9449-10")
async def test_a_refused_token_brings_a_nonce_too() -> None:
    """While nonces are required, each answer to a proof has one."""
    site = Site(require_nonce=True)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    site.token = site.bound_token(exp=1)
    answer = await site.send(site.headers(nonce=nonce))
    assert (site.records[-1].reason, len(answer.lines(b"dpop-nonce"))) == ("token.expired", 1)


async def test_without_nonces_no_answer_has_one() -> None:
    """A client that is not asked for a nonce is not told of any."""
    site = Site()
    assert (await site.send(site.headers())).lines(b"dpop-nonce") == []


@pytest.mark.rfc("9449-12")
async def test_proofs_that_were_made_in_advance_are_refused() -> None:
    """Who had the key for a moment may have made proofs with a later iat. The nonce was not known then."""
    site = Site(require_nonce=True)
    advance = site.headers(iat=site.clock.now + 600)
    site.clock.move(600)
    assert await site.reason(advance) == "proof.nonce_missing"


@pytest.mark.rfc("9449-4")
async def test_a_nonce_ends() -> None:
    """Its life has no leeway, because the clock is ours. A stale one gets a new one."""
    site = Site(require_nonce=True, nonce_life=100)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    site.clock.move(99)
    assert await site.reason(site.headers(nonce=nonce)) is None
    site.clock.move(1)
    answer = await site.send(site.headers(nonce=nonce))
    assert (site.records[-1].reason, len(answer.lines(b"dpop-nonce"))) == ("proof.nonce_stale", 1)


async def test_a_clock_that_was_set_back_makes_a_nonce_stale() -> None:
    """A nonce from the future is not one of this time."""
    site = Site(require_nonce=True)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    site.clock.move(-61)
    assert await site.reason(site.headers(nonce=nonce)) == "proof.nonce_stale"


@pytest.mark.rfc("9449-4")
async def test_with_a_nonce_the_clock_of_the_client_does_not_count() -> None:
    """RFC 9449 section 4.3, check 11: the nonce says when the proof was made at the earliest."""
    site = Site(require_nonce=True)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    assert await site.reason(site.headers(nonce=nonce, iat=site.clock.now - 86_400)) is None


async def test_a_proof_with_a_nonce_is_accepted_once() -> None:
    """The nonce does not replace the memory of used proofs."""
    site = Site(require_nonce=True)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    headers = site.headers(nonce=nonce)
    assert [await site.reason(headers), await site.reason(headers)] == [None, "proof.replayed"]


async def test_the_nonce_of_an_older_secret_is_accepted() -> None:
    """Secrets are rotated: the first makes the nonces, and all are accepted."""
    old, site = Site(require_nonce=True, secret="o" * 32), Site(require_nonce=True, secret=[SECRET, "o" * 32])
    [nonce] = (await old.send(old.headers())).lines(b"dpop-nonce")
    assert await site.reason(site.headers(nonce=nonce)) is None
    [newer] = (await site.send(site.headers())).lines(b"dpop-nonce")
    assert await old.reason(old.headers(nonce=newer)) == "proof.nonce_unknown"


@pytest.mark.rfc("9449-11")
async def test_a_process_that_has_just_begun_asks_for_a_nonce() -> None:
    """It does not know which proofs another one accepted, and costs the client one more request, but no login."""
    site = Site()
    site.dpop._proofs = MemoryProofs(clock=site.clock)
    site.dpop._claim_now = site.dpop._proofs.claim_now
    answer = await site.send(site.headers())
    assert site.records[-1].reason == "proof.forgotten"
    site.clock.move(0.001)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    assert answer.lines(b"www-authenticate")[0].endswith('error="use_dpop_nonce"')
    assert await site.reason(site.headers(nonce=nonce)) is None


@pytest.mark.rfc("9449-5")
async def test_a_token_that_must_be_looked_up() -> None:
    """An opaque token is bound by what the look-up says, and its proof is checked after that."""
    site = Site()
    found = Principal("bob", claims={"cnf": site.client.cnf})

    async def find(digest: str) -> Principal:
        return found

    site.dpop.replace(TokenLookup(find))
    for proofs in (site.dpop._proofs, SlowProofs(ProofUse.FRESH)):
        site.dpop._proofs = proofs
        site.dpop._claim_now = getattr(proofs, "claim_now", None)
        site.token = "opaque-token-of-many-characters"
        answer = await site.send(site.headers())
        assert (answer.status, answer.body) == (200, b"bob")
    assert await site.reason(site.thief.headers(site.token, "GET", f"{URL}/orders")) == "token.key_mismatch"


# --- stores -----------------------------------------------------------------------------------------------------------


class SlowProofs:
    """A store that must be awaited."""

    def __init__(self, answer: ProofUse | None, on_outage: str = "deny") -> None:
        self.answer, self.on_outage = answer, on_outage

    async def claim(self, key: bytes, **times: float) -> ProofUse:
        """The answer; None means that the store is away."""
        if self.answer is None:
            raise BackendUnavailable("away")
        return self.answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ProofUse.FRESH, None),
        (ProofUse.REPLAYED, "proof.replayed"),
        (ProofUse.FORGOTTEN, "proof.forgotten"),
        (None, "store.unavailable"),
    ],
)
async def test_a_store_that_is_awaited(answer: ProofUse | None, reason: str | None) -> None:
    """Its answer is that of the memory; an outage is a 503 and no refusal."""
    site = Site(proofs=SlowProofs(answer))
    assert await site.reason(site.headers()) == reason


async def test_an_outage_may_let_proofs_pass_by_name() -> None:
    """With on_outage="allow" the request passes, and its record says that the proof was not looked up."""
    site = Site(proofs=SlowProofs(None, "allow"))
    assert await site.reason(site.headers()) is None
    assert site.records[-1].facts["unchecked"] == "proofs"


def test_the_stores_of_the_scheme_are_told_to_start_up() -> None:
    """A memory counts per process, and so does a secret that is not shared."""
    site = Site()
    assert site.dpop.state_stores() == {"proofs": site.dpop._proofs}
    alone = Dpop(site.issuer.as_issuer(), realm="x", public_url=URL, secret=PER_PROCESS)
    assert alone.state_stores()["secret"] == "PER_PROCESS"


# --- configuration ----------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"public_url": ()}, "public_url: give the URL that clients use"),
    ({"public_url": "api.example"}, "public_url: 'api.example' is no URL that clients use"),
    ({"public_url": "https://api.example/?a=1"}, "public_url: "),
    ({"public_url": "https://api.example/#a"}, "public_url: "),
    ({"public_url": ["https://["]}, "public_url: "),
    ({"public_url": 5}, "public_url: "),
    ({"secret": None}, "secret: give one that all processes share"),
    ({"secret": "short"}, "secret: give at least 32 bytes"),
    ({"algorithms": ()}, "algorithms: "),
    ({"algorithms": ["HS256"]}, "algorithms: "),
    ({"algorithms": "none"}, "algorithms: "),
    ({"window": 0}, "window: "),
    ({"nonce_life": -1}, "nonce_life: "),
    ({"require_nonce": "yes"}, "require_nonce: "),
    ({"proofs": MemoryProofs}, "proofs: give MemoryProofs()"),
    ({"proofs": object()}, "proofs: give MemoryProofs()"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_option_is_told_when_the_app_is_built(options: dict[str, Any], message: str) -> None:
    """The message names the argument and the fix."""
    given = {"realm": "x", "public_url": URL, "secret": SECRET, **options}
    with pytest.raises(ConfigurationError) as caught:
        Dpop(TestIssuer().as_issuer(), **given)
    assert str(caught.value).startswith(message)


def test_one_algorithm_may_be_given_alone() -> None:
    """The challenge names it."""
    assert Site(algorithms="ES256").dpop._params["algs"] == "ES256"
