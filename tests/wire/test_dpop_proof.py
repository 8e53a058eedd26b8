"""The proofs of DPoP as they are parsed: RFC 9449 section 4.2, RFC 7638."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.wire.dpop_proof import MAX_PROOF, base64url, parse_proof, thumbprint
from authguard.wire.grammar import WireError

# RFC 9449 section 4.1.
EXAMPLE = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRj"
    "QyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGki"
    "OiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY"
    "yNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}
HEADER: dict[str, Any] = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK}
CLAIMS: dict[str, Any] = {"jti": "1", "htm": "GET", "htu": "https://api.example/", "iat": 1_700_000_000}


def proof(header: object = HEADER, claims: object = CLAIMS, signature: bytes = b"s") -> bytes:
    """A proof as a client sends it, whose signature nobody verifies here."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(map(base64url, parts)).encode()


@pytest.mark.rfc("9449-1")
def test_the_example_of_the_rfc_is_read() -> None:
    """Each member of the example in RFC 9449 section 4.1 is found, and its thumbprint is that of section 6.1."""
    found = parse_proof(EXAMPLE.encode())
    assert (found.alg, found.jti, found.htm, found.htu) == (
        "ES256",
        "-BwC3ESc6acc2lTc",
        "POST",
        "https://server.example.com/token",
    )
    assert (found.iat, found.ath, found.nonce, dict(found.jwk)) == (1562262616, None, None, JWK)
    assert found.thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert (found.signing_input, len(found.signature)) == (EXAMPLE.rpartition(".")[0].encode(), 64)


@pytest.mark.rfc("7638-1")
def test_the_thumbprint_of_the_rfc() -> None:
    """RFC 7638 section 3.1: members that are not required do not count."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5ha"
        "jrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_what_is_optional_is_read() -> None:
    """``ath`` and ``nonce`` are there if the client sends them; other members change nothing."""
    found = parse_proof(proof({**HEADER, "kid": "x"}, {**CLAIMS, "ath": "a", "nonce": "n", "iat": 1.5, "exp": 1}))
    assert (found.ath, found.nonce, found.iat) == ("a", "n", 1.5)


PRIVATE = [{**JWK, member: "AQ"} for member in ("d", "p", "q", "dp", "dq", "qi", "oth", "k")]


@pytest.mark.parametrize(
    ("raw", "part", "problem"),
    [
        (b"", "form", "not three parts"),
        (b"a.b", "form", "not three parts"),
        (proof() + b".c", "form", "not three parts"),
        (proof() + b", " + proof(), "form", "not three parts"),
        (b" " + proof(), "form", "not base64url"),
        (proof() + b"=", "form", "base64url with padding"),
        (proof(signature=b"s" * MAX_PROOF), "form", "too long"),
        (proof([1]), "form", "not a JSON object"),
        (proof(claims="text"), "form", "not a JSON object"),
        (proof({**HEADER, "typ": "JWT"}), "typ", "typ is not dpop"),
        (proof({**HEADER, "typ": "DPoP+JWT"}), "typ", "typ is not dpop"),
        (proof({"alg": "ES256", "jwk": JWK}), "typ", "typ is not dpop"),
        (proof({"typ": "dpop+jwt", "jwk": JWK}), "alg", "no alg"),
        (proof({**HEADER, "alg": 1}), "alg", "no alg"),
        (proof({**HEADER, "crit": ["exp"]}), "form", "crit or b64"),
        (proof({**HEADER, "b64": False}), "form", "crit or b64"),
        (proof({"typ": "dpop+jwt", "alg": "ES256"}), "jwk", "no jwk"),
        (proof({**HEADER, "jwk": [JWK]}), "jwk", "no jwk"),
        *((proof({**HEADER, "jwk": jwk}), "jwk", "private or a symmetric key") for jwk in PRIVATE),
        (proof({**HEADER, "jwk": {"kty": "oct"}}), "jwk", "none of EC, OKP and RSA"),
        (proof({**HEADER, "jwk": {**JWK, "kty": ["EC"]}}), "jwk", "none of EC, OKP and RSA"),
        (proof({**HEADER, "jwk": {"kty": "EC", "crv": "P-256", "x": "AQ"}}), "jwk", "lacks a member"),
        (proof({**HEADER, "jwk": {**JWK, "y": 5}}), "jwk", "lacks a member"),
        (proof({**HEADER, "jwk": {**JWK, "y": "A+B/"}}), "jwk", "not base64url"),
        (proof({**HEADER, "jwk": {**JWK, "y": "AQé"}}), "jwk", "not base64url"),
        (proof({**HEADER, "jwk": {**JWK, "crv": "P-é"}}), "jwk", "not ASCII"),
        *((proof(claims={**CLAIMS, name: ""}), "form", f"{name} is not a string") for name in ("jti", "htm", "htu")),
        *((proof(claims={**CLAIMS, name: 1}), "form", f"{name} is not a string") for name in ("jti", "ath", "nonce")),
        *(
            (proof(claims={**CLAIMS, "iat": iat}), "form", "iat is not a number")
            for iat in (None, "1", True, 2**60, -(2**60))
        ),
    ],
)
@pytest.mark.rfc("9449-1")
def test_what_is_no_proof_is_refused(raw: bytes, part: str, problem: str) -> None:
    """The part says which check of RFC 9449 section 4.3 failed; the problem holds nothing of the proof."""
    with pytest.raises(WireError, match=problem) as caught:
        parse_proof(raw)
    assert caught.value.part == part


def test_infinity_is_no_time() -> None:
    """A number that is too large for a float is infinity to a JSON parser, and no time."""
    claims = base64url(b'{"jti":"1","htm":"GET","htu":"https://api.example/","iat":1e999}')
    with pytest.raises(WireError, match="iat is not a number"):
        parse_proof(f"{base64url(json.dumps(HEADER).encode())}.{claims}.cw".encode())


def test_nothing_of_a_proof_is_shown() -> None:
    """A proof of the client is as good as the request that it is for, so its repr has no part that makes one."""
    shown = repr(
        parse_proof(proof(claims={**CLAIMS, "jti": "secret-id", "nonce": "secret-nonce", "ath": "secret-ath"}))
    )
    assert "secret" not in shown
    assert JWK["x"] not in shown


@given(st.binary(max_size=200) | st.text(alphabet="eyJ.AQ-_=", max_size=60).map(str.encode))
def test_no_input_raises_anything_else(raw: bytes) -> None:
    """Whatever a client sends, it is a proof or a ``WireError``."""
    part = "form"
    try:
        parse_proof(raw)
    except WireError as error:
        part = error.part or ""
    assert part in {"form", "typ", "alg", "jwk"}
