"""``is_jose`` tells a damaged JWS or a JWE from an opaque token."""

from __future__ import annotations

import pytest

from authguard.wire.jws import is_jose
from tests.support.tokens import b64url, mint

JWE = b64url(b'{"alg":"dir","enc":"A256GCM"}').encode()


@pytest.mark.parametrize(
    "token",
    [
        mint().encode(),
        mint().encode().rpartition(b".")[0],
        JWE + b"..iv.text.tag",
        b64url(b'{ "alg": "RS256" }').encode() + b".e30.",
        b64url(b'{\n"alg":"RS256"}').encode() + b".e30.",
        b64url(b'{"alg":5}').encode() + b".e30.AA",
        b"eyJ.",
        b"eyJhbGciOiJSUzI1NiJ=.e30.AA",
        b64url(b'{"a":1,"a":2}').encode() + b".e30.AA",
    ],
)
def test_a_token_with_a_jose_header_is_not_opaque(token: bytes) -> None:
    """A header as in RFC 7515 section 4.1.1, or an unreadable one, is never sent to an introspection endpoint."""
    assert is_jose(token)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"2YotnFZFEjr1zCsicMWpAA",
        b"eyJhbGciOiJSUzI1NiJ9",
        b"v4.public.eyJhbGciOiJSUzI1NiJ9",
        b64url(b'{"user":5}').encode() + b".time.mac",
        b64url(b'"alg"').encode() + b".e30.AA",
    ],
)
def test_every_other_token_is_opaque(token: bytes) -> None:
    """Opaque are tokens without a dot, tokens of other formats, and signed JSON that is not a JWS."""
    assert not is_jose(token)
