"""What attackers do with a token, a recorded proof or a key of their choice, and what becomes of it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from authguard.wire.dpop_proof import MAX_PROOF, base64url, thumbprint
from tests.keys.test_weak_keys import SMALL_25519
from tests.schemes.dpop.site import URL, Site
from tests.support.asgi import http_scope, run_app

Fields = dict[str, str]

#: The URIs of proofs that a client was made to sign for another site, or for another resource of this one.
RELAYED = [
    "https://evil.example/orders",
    "https://api.example.evil.example/orders",
    "https://api.example@evil.example/orders",
    "https://api.example:443@evil.example/orders",
    "https://evil.example/https://api.example/orders",
    "https://evil.example#@api.example/orders",
    "https://evil.example?@api.example/orders",
    "https://api.example\\@evil.example/orders",
    "https://user:password@api.example/orders",
    "https://api.example./orders",
    "https://xn--api-.example/orders",
    "https://ap\u0131.example/orders",
    "https://\u0430pi.example/orders",
    "https://api.example%2eevil.example/orders",
    "https://api.example%00.evil.example/orders",
    "https://[::1]/orders",
    "//api.example/orders",
    "https:/api.example/orders",
    "https:api.example/orders",
    " https://api.example/orders",
    "https://api.example/orders ",
    "https://api.example/orders\n",
    "https://api.example\t/orders",
    "wss://api.example/orders",
    "file://api.example/orders",
    # Ports
    "http://api.example/orders",
    "http://api.example:443/orders",
    "https://api.example:80/orders",
    "https://api.example:444/orders",
    "https://api.example:4430/orders",
    "https://api.example:000443/orders",
    "https://api.example:-443/orders",
    "https://api.example:\u0664\u0664\u0663/orders",
    # Paths
    "https://api.example/Orders",
    "https://api.example/orders/",
    "https://api.example//orders",
    "https://api.example/orders%2F",
    "https://api.example/orders%",
    "https://api.example/orders%2",
    "https://api.example/orders%00",
    "https://api.example/%2e%2e%2forders",
    "https://api.example/orders;x",
    "https://api.example/orders/..",
    "https://api.example/orders/../orders/1",
]

#: The same URI in other spellings: RFC 3986 sections 6.2.2 and 6.2.3.
EQUIVALENT = [
    "https://api.example:443/orders",
    "https://api.example:0443/orders",
    "https://api.example:/orders",
    "HTTPS://aPi.eXaMpLe/orders",
    "https://%61pi.example/orders",
    "https://api.example/%6Frders",
    "https://api.example/x/%2e%2E/orders",
    "https://api.example/orders?a=//evil.example",
    "https://api.example/orders#/evil",
]


@pytest.mark.parametrize("htu", RELAYED, ids=ascii)
@pytest.mark.rfc("9449-2")
async def test_a_proof_for_another_uri_is_refused(htu: str) -> None:
    """Whoever relays it also writes Host and the forwarded fields, so that both name what the proof names."""
    site = Site()
    host = htu.partition("//")[2].partition("/")[0].encode("ascii", "replace").decode()
    told = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https", "Forwarded": f'host="{host}"'}

    assert await site.reason({**site.headers(htu=htu), **told}) == "proof.uri_mismatch"


@pytest.mark.parametrize("htu", EQUIVALENT)
@pytest.mark.rfc("9449-3")
async def test_a_proof_in_another_spelling_is_the_same_proof(htu: str) -> None:
    """It is accepted, and once: a spelling makes no second proof of one."""
    site = Site()

    assert await site.reason(site.headers(htu=htu, jti="1")) is None
    assert await site.reason(site.headers(jti="1")) == "proof.replayed"


def _other_signature(fields: Fields) -> Fields:
    """The other signature that ECDSA has for the same text, which needs no private key: s becomes n - s."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    text, _, signature = fields["DPoP"].rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    assert decode_dss_signature(encode_dss_signature(r, s)) == (r, s)
    return {**fields, "DPoP": f"{text}.{base64url(raw[:32] + (order - s).to_bytes(32, 'big'))}"}


REPLAYS: Mapping[str, Callable[[Fields], Fields]] = {
    "the same": lambda fields: fields,
    "another signature": _other_signature,
    "with spaces": lambda fields: {**fields, "DPoP": f"  {fields['DPoP']}\t"},
    "another case of the scheme": lambda fields: {**fields, "Authorization": "dPoP" + fields["Authorization"][4:]},
    "other fields beside": lambda fields: {**fields, "X-Request-Id": "2", "Cookie": "a=b"},
}


@pytest.mark.parametrize("change", REPLAYS.values(), ids=REPLAYS)
@pytest.mark.rfc("9449-11")
async def test_a_recorded_request_is_a_replay(change: Callable[[Fields], Fields]) -> None:
    """However it is dressed up; and the original passes only once, too."""
    site = Site()
    recorded = site.headers()

    assert await site.reason(recorded) is None
    assert await site.reason(change(recorded)) == "proof.replayed"


@pytest.mark.parametrize("change", REPLAYS.values(), ids=REPLAYS)
async def test_a_thief_who_is_faster_ends_it_for_the_client(change: Callable[[Fields], Fields]) -> None:
    """Of a proof in two forms, one passes, in either order."""
    site = Site()
    recorded = site.headers()

    assert [await site.reason(fields) for fields in (change(recorded), recorded)] == [None, "proof.replayed"]


FORGED: Mapping[str, tuple[Callable[[Site, Fields], Fields], str]] = {
    "the proof under Bearer": (lambda _, of: {"Authorization": f"Bearer {of['DPoP']}"}, "token.claim_missing"),
    "the proof in place of the token": (lambda _, of: {**of, "Authorization": f"DPoP {of['DPoP']}"}, "token."),
    "the token in place of the proof": (lambda site, of: {**of, "DPoP": site.token}, "proof.type_refused"),
    "two proofs in one field": (lambda _, of: {**of, "DPoP": f"{of['DPoP']}, {of['DPoP']}"}, "proof.malformed"),
    "an empty field": (lambda _, of: {**of, "DPoP": ""}, "proof.malformed"),
    "no signature": (lambda _, of: {**of, "DPoP": of["DPoP"].rpartition(".")[0] + "."}, "proof.signature_invalid"),
    "four parts": (lambda _, of: {**of, "DPoP": of["DPoP"] + ".AAAA"}, "proof.malformed"),
    "padding": (lambda _, of: {**of, "DPoP": of["DPoP"] + "="}, "proof.malformed"),
    "a proof of the thief": (
        lambda site, of: {**of, "DPoP": site.thief.headers(site.token, "GET", f"{URL}/orders")["DPoP"]},
        "token.key_mismatch",
    ),
    "a proof of 8 KiB": (lambda site, of: site.headers(filling="x" * MAX_PROOF), "proof.malformed"),
    "no ath, because it was for a token": (lambda site, of: site.headers(ath=...), "proof.token_mismatch"),
    "made an hour ahead": (lambda site, of: site.headers(iat=site.clock.now + 3600), "proof.not_yet_valid"),
    "made a day ago": (lambda site, of: site.headers(iat=site.clock.now - 86_400), "proof.expired"),
    "of the end of time": (lambda site, of: site.headers(iat=2**52), "proof.not_yet_valid"),
    "of no time": (lambda site, of: site.headers(iat=10**400), "proof.malformed"),
    "of before 1970": (lambda site, of: site.headers(iat=-(2**52)), "proof.expired"),
    "a time in a text": (lambda site, of: site.headers(iat="now"), "proof.malformed"),
    "a time that is true": (lambda site, of: site.headers(iat=True), "proof.malformed"),
    "a nonce of nobody": (lambda site, of: site.headers(nonce="A" * 40), "proof.nonce_unknown"),
    "a nonce that is too long": (lambda site, of: site.headers(nonce="A" * 4000), "proof.nonce_unknown"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_request_is_refused(name: str) -> None:
    """Each with its reason; and what was forged from a good request does not spoil that."""
    site = Site()
    good = site.headers()
    forge, reason = FORGED[name]

    assert str(await site.reason(forge(site, good))).startswith(reason)
    assert await site.reason(good) is None


@pytest.mark.rfc("9449-9")
async def test_two_schemes_at_once_are_refused() -> None:
    """RFC 9449 section 7.2: the token under Bearer too, to be let in by whichever looks less closely."""
    site = Site()
    fields = site.headers()
    lines = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    twice = [*lines, (b"authorization", f"Bearer {site.token}".encode())]
    answer = await run_app(site.app, http_scope("/orders", headers=twice))

    assert (answer.status, site.records[-1].reason) == (400, "credentials.ambiguous")
    assert ['error="invalid_request"' in line for line in answer.lines(b"www-authenticate")] == [True, True]
    in_one_line = {**fields, "Authorization": f"{fields['Authorization']}, Bearer {site.token}"}
    assert await site.reason(in_one_line) == "credentials.malformed"


def _forged_with(site: Site, jwk: Mapping[str, Any], algorithm: str, signature: bytes) -> Fields:
    """A token that is bound to this key, as an authorization server may issue it, and a proof that nobody signed."""
    bound = {name: jwk[name] for name in jwk if name in {"crv", "e", "kty", "n", "x", "y"}}
    site.token = site.bound_token(cnf={"jkt": thumbprint(bound)})
    claims = site.headers()["DPoP"].split(".")[1]
    header = base64url(json.dumps({"typ": "dpop+jwt", "alg": algorithm, "jwk": dict(jwk)}).encode())
    return {"Authorization": f"DPoP {site.token}", "DPoP": f"{header}.{claims}.{base64url(signature)}"}


@pytest.mark.parametrize("raw", sorted(SMALL_25519), ids=bytes.hex)
@pytest.mark.rfc("9449-1")
async def test_a_key_with_which_anybody_can_sign_is_refused(raw: bytes) -> None:
    """A09: a point of small order, to which a token was bound: OpenSSL accepts a signature of zeros for it."""
    site = Site()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}

    assert await site.reason(_forged_with(site, jwk, "EdDSA", b"\x01" + bytes(63))) == "proof.key_refused"


def _rsa(bits: int, exponent: int = 65537) -> Mapping[str, str]:
    length = (exponent.bit_length() + 7) // 8
    return {
        "kty": "RSA",
        "n": base64url(((1 << (bits - 1)) | 1).to_bytes((bits + 7) // 8, "big")),
        "e": base64url(exponent.to_bytes(length, "big")),
    }


KEYS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "RSA of 8 KiB": (_rsa(65_536), "PS256"),
    "RSA of 16,384 bits": (_rsa(16_384), "PS256"),
    "RSA of 4,104 bits": (_rsa(4104), "PS256"),
    "RSA of 1,024 bits": (_rsa(1024), "PS256"),
    "RSA with the exponent 1": (_rsa(2048, 1), "PS256"),
    "RSA with an exponent as long as the key": (_rsa(2048, (1 << 2047) | 1), "PS256"),
    "RSA that is even": ({**_rsa(2048), "n": base64url(b"\x80" + bytes(255))}, "PS256"),
    "RSA that is 0": ({**_rsa(2048), "n": "AA"}, "PS256"),
    "EC that is no point": ({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}, "ES256"),
    "EC at infinity": (
        {"kty": "EC", "crv": "P-256", "x": base64url(bytes(32)), "y": base64url(bytes(32))},
        "ES256",
    ),
    "EC of no curve": ({"kty": "EC", "crv": "P-257", "x": "AQ", "y": "AQ"}, "ES256"),
    "EC on an Edwards curve": ({"kty": "EC", "crv": "Ed25519", "x": "AQ", "y": "AQ"}, "ES256"),
    "Ed25519 that is short": ({"kty": "OKP", "crv": "Ed25519", "x": "AQ"}, "EdDSA"),
    "a key to agree on a secret": ({"kty": "OKP", "crv": "X25519", "x": base64url(b"\x09" + bytes(31))}, "EdDSA"),
    "a key of another kind": (_rsa(2048), "ES256"),
    "a private key": ({**_rsa(2048), "d": "AQ"}, "PS256"),
    "a secret beside": ({**_rsa(2048), "k": "AQ"}, "PS256"),
}

OTHER_REASONS = {"RSA of 8 KiB": "proof.malformed", "RSA that is even": "proof.signature_invalid"}


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
@pytest.mark.parametrize("name", KEYS)
@pytest.mark.rfc("9449-1")
async def test_a_key_that_is_none_is_refused(name: str) -> None:
    """Although the token is bound to it: long, short, weak, of no curve, or with more than a public key has."""
    site = Site()
    jwk, algorithm = KEYS[name]

    reason = await site.reason(_forged_with(site, jwk, algorithm, bytes(256)))

    assert reason == OTHER_REASONS.get(name, "proof.key_refused")
    assert len(site.dpop._client_keys) == 0


@pytest.mark.parametrize("ahead", [-60.001, -60, -30, 0, 30, 60, 60.001])
@pytest.mark.parametrize("leeway", [0, 60])
async def test_a_clock_may_be_off_by_the_leeway(leeway: float, ahead: float) -> None:
    """A client whose clock is ahead or behind by at most that is accepted, within a window of 60 seconds."""
    site = Site(leeway=leeway)
    reason = await site.reason(site.headers(iat=site.clock.now + ahead))

    early, late = ahead > leeway, -ahead >= 60 + leeway
    assert reason == ("proof.not_yet_valid" if early else "proof.expired" if late else None)


@pytest.mark.rfc("9449-4")
async def test_nothing_made_in_advance_is_good_with_nonces() -> None:
    """Whoever had the key for an hour, and made proofs for each minute of the next, has none with a nonce of then."""
    site = Site(require_nonce=True)
    [nonce] = (await site.send(site.headers())).lines(b"dpop-nonce")
    stock = [site.headers(iat=site.clock.now + 60 * minute, nonce=nonce) for minute in range(5, 60)]

    for fields in stock:
        site.clock.move(60 if len(site.records) > 1 else 300)
        assert await site.reason(fields) == "proof.nonce_stale"


@pytest.mark.rfc("9449-11")
async def test_who_has_no_valid_token_fills_nothing() -> None:
    """The store of proofs and the cache of keys grow by requests that were granted, and by no other."""
    site = Site()
    for _ in range(20):
        await site.reason(site.thief.headers(site.token, "GET", f"{URL}/orders"))
        await site.reason(site.headers() | {"Authorization": "DPoP x.y.z"})
    proofs: Any = site.dpop._proofs

    assert (len(proofs), len(site.dpop._client_keys)) == (0, 0)
