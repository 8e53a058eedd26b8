"""Set-ups that are too weak: an app with one of them does not start."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from authguard import JWK, PEM, ConfigurationError, Guard, Secret
from tests.security.forged_tokens import public_key_encodings
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import HMAC_SECRET, ec_key, private_pem, public_jwk, public_pem, rsa_key


@pytest.mark.rfc("limits-3")
@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_short_secret_raises(algorithm: str, least: int) -> None:
    """CVE-2025-45768 (PyJWT, disputed), RFC 7518 section 3.2: an HMAC secret is at least as long as the hash."""
    secret = HMAC_SECRET[: least - 1]

    for short in (secret, b"", secret[:1]):
        with pytest.raises(ConfigurationError, match=f"{algorithm} needs {least} or more"):
            issuer(Secret(short), algorithms=[algorithm])
    issuer(Secret(HMAC_SECRET[:least]), algorithms=[algorithm])


@pytest.mark.rfc("8725-2")
@pytest.mark.parametrize(
    "secret",
    [
        "secret" * 11,
        "Secret-Secret-Secret-Secret-Secret-Secret!",
        "change-me-change-me-change-me-change-me",
        "your-256-bit-secret-your-256-bit-secret",
        "password" * 5,
        "a" * 64,
        " " * 64,
        "abc" * 22,
        b"\0" * 64,
        # The secrets of jwt.io and of FastAPI's tutorial.
        "a-string-secret-at-least-256-bits-long",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    ],
)
def test_a_published_secret_raises(secret: str | bytes) -> None:
    """AuthTuna, codex.docs: a secret from documentation, or of few different characters, raises."""
    with pytest.raises(ConfigurationError, match="can be guessed"):
        issuer(Secret(secret), algorithms=["HS256"])


@pytest.mark.rfc("limits-3")
def test_a_short_rsa_key_raises() -> None:
    """RFC 7518 section 3.3: an RSA key has at least 2,048 bits, as PEM and as JWK."""
    for short in (PEM(public_pem(rsa_key(1024))), JWK(public_jwk(rsa_key(1024)))):
        with pytest.raises(ConfigurationError, match="1024 bits; 2048 is the minimum"):
            issuer(short)


def test_a_private_key_raises() -> None:
    """Verifying does not need a private key, and every copy of one is a risk."""
    jwk = {**jwt.get_algorithm_by_name("RS256").to_jwk(rsa_key(), as_dict=True), "key_ops": ["sign", "verify"]}

    for private in (PEM(private_pem(rsa_key())), JWK(jwk)):
        with pytest.raises(ConfigurationError, match="private key"):
            issuer(private)


@pytest.mark.parametrize("leeway", [float("nan"), float("inf"), -1, -0.001, True, False, 1e12, 300.1, "60", None, 1j])
def test_an_unreasonable_leeway_raises(leeway: Any) -> None:
    """With PyJWT, a leeway of NaN, infinity or 1e12 accepts a token that expired a year ago."""
    with pytest.raises(ConfigurationError, match=r"^leeway: "):
        Guard(bearer(), leeway=leeway)


def test_a_public_key_makes_no_secret() -> None:
    """CVE-2022-29217: the text of a public key as a ``Secret`` raises."""
    for key in (rsa_key(), ec_key()):
        for data in public_key_encodings(key).values():
            with pytest.raises(ConfigurationError, match="not a secret"):
                issuer(Secret(data), algorithms=["HS256"])


@pytest.mark.parametrize("algorithms", [["HS256", "RS256"], ["ES256", "HS512"], ["EdDSA", "HS384", "PS256"]])
def test_hmac_and_public_keys_do_not_mix(algorithms: list[str]) -> None:
    """CVE-2022-29217: one issuer has either secrets or public keys."""
    with pytest.raises(ConfigurationError, match="must not be mixed"):
        issuer(algorithms=algorithms)
