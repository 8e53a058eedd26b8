"""Tokens that were signed without the key, by family."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.security.peers import Verifiers
from tests.support.tokens import (
    HMAC_SECRET,
    claims,
    ec_key,
    ed_key,
    public_jwk,
    public_pem,
    rsa_key,
    split_signature,
    unsigned_token,
    with_signature,
)

Cases: TypeAlias = Iterator[tuple[str, bytes]]


#: FIPS 186-5 and SEC 2: the order of each curve's group.
ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES256K": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}


# RFC 8032 section 5.1.
_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def public_key_encodings(key: Any) -> dict[str, bytes]:
    """All common encodings of a public key."""
    public = key.public_key()
    jwk = public_jwk(key)
    written = {
        "PEM": public_pem(key),
        "PEM less its last newline": public_pem(key).rstrip(),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(jwk).encode(),
        "JWK without whitespace": json.dumps(jwk, separators=(",", ":")).encode(),
        "JWK Set": json.dumps({"keys": [jwk]}).encode(),
    }
    if getattr(key, "curve", None) is None or key.curve.name != "secp256k1":
        written["SSH"] = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return written


def key_confusion(setup: Verifiers) -> Cases:
    """HMACs whose secret is the public key, in each encoding (RFC 8725 section 2.1)."""
    for alg, size in (("HS256", "sha256"), ("HS512", "sha512"), (setup.algorithm, "sha256")):
        for what, data in public_key_encodings(setup.key).items():
            signing_input = unsigned_token({"alg": alg, "typ": "JWT"})
            yield f"{what}, {alg}", with_signature(signing_input, hmac.digest(data, signing_input, size))


def bad_signatures(setup: Verifiers) -> Cases:
    """Invalid signatures, by the change that was made to a valid one."""
    signing_input, right = split_signature(setup.token())
    _, other = split_signature(setup.token(payload=claims(sub="mallory")))
    wrong = {
        "none": b"",
        "zeros": bytes(len(right)),
        "ones": b"\xff" * len(right),
        "one octet": b"\x01",
        "one octet short": right[:-1],
        "one octet short in front": right[1:],
        "one octet long": right + b"\0",
        "a zero in front": b"\0" + right,
        "half of it": right[: len(right) // 2],
        "twice": right + right,
        "backwards": right[::-1],
        "a bit of the first octet": bytes([right[0] ^ 1]) + right[1:],
        "a bit of the last octet": right[:-1] + bytes([right[-1] ^ 1]),
        "of another payload": other,
        "4,000 octets": b"\x01" * 4000,
    }
    kind = setup.algorithm[:2]
    wrong |= {"HS": _bad_macs, "RS": _bad_rsa, "PS": _bad_rsa, "ES": _bad_ecdsa, "Ed": _bad_eddsa}[kind](
        setup, signing_input, right
    )
    for what, signature in wrong.items():
        yield what, with_signature(signing_input, signature)


def _bad_macs(setup: Verifiers, signing_input: bytes, right: bytes) -> dict[str, bytes]:
    return {
        "with another hash": hmac.digest(HMAC_SECRET, signing_input, "sha384"),
        "with the secret in hexadecimal": hmac.digest(HMAC_SECRET.hex().encode(), signing_input, "sha256"),
        "with no secret": hmac.digest(b"", signing_input, "sha256"),
        "in hexadecimal": right.hex().encode(),
    }


def _bad_rsa(setup: Verifiers, signing_input: bytes, right: bytes) -> dict[str, bytes]:
    sha256, sha512 = hashes.SHA256(), hashes.SHA512()
    mgf = padding.MGF1(sha256)
    paddings: dict[str, tuple[Any, Any]] = {
        "PKCS #1 v1.5": (padding.PKCS1v15(), sha256),
        "PKCS #1 v1.5 with SHA-512": (padding.PKCS1v15(), sha512),
        "PSS": (padding.PSS(mgf, 32), sha256),
        "PSS without salt": (padding.PSS(mgf, 0), sha256),
        "PSS with a salt of 20": (padding.PSS(mgf, 20), sha256),
        "PSS with the longest salt": (padding.PSS(mgf, padding.PSS.MAX_LENGTH), sha256),
        "PSS with another mask": (padding.PSS(padding.MGF1(sha512), 32), sha256),
        "PSS with SHA-512": (padding.PSS(padding.MGF1(sha512), 64), sha512),
    }
    del paddings["PSS" if setup.algorithm == "PS256" else "PKCS #1 v1.5"]
    numbers = setup.key.public_key().public_numbers()
    number, size = int.from_bytes(right, "big"), len(right)
    wrong = {name: setup.key.sign(signing_input, pad, digest) for name, (pad, digest) in paddings.items()}
    wrong["of another key"] = rsa_key(which=1).sign(signing_input, padding.PKCS1v15(), sha256)
    wrong["less than zero"] = (numbers.n - number).to_bytes(size, "big")
    wrong["more than the modulus"] = (numbers.n + number).to_bytes(size + 1, "big")
    wrong["the modulus"] = numbers.n.to_bytes(size, "big")
    wrong["one"] = (1).to_bytes(size, "big")
    return wrong


def _bad_ecdsa(setup: Verifiers, signing_input: bytes, right: bytes) -> dict[str, bytes]:
    order, size = ORDERS[setup.algorithm], len(right) // 2
    r, s = int.from_bytes(right[:size], "big"), int.from_bytes(right[size:], "big")

    def raw(first: int, second: int) -> bytes:
        return first.to_bytes(size, "big") + second.to_bytes(size, "big")

    foreign = jwt.get_algorithm_by_name("ES256").sign(signing_input, ec_key(which=1))
    # CVE-2022-21449 (Java): r = s = 0 was valid for every text and every key.
    return {
        "r and s are zero": raw(0, 0),
        "r is zero": raw(0, s),
        "s is zero": raw(r, 0),
        "r and s are one": raw(1, 1),
        "r is the order": raw(order, s),
        "s is the order": raw(r, order),
        "r and s are the order": raw(order, order),
        "r and s change places": raw(s, r),
        "DER": encode_dss_signature(r, s),
        "of another key": foreign,
    }


def _bad_eddsa(setup: Verifiers, signing_input: bytes, right: bytes) -> dict[str, bytes]:
    point, scalar = right[:32], int.from_bytes(right[32:], "little")
    return {
        "S and the order": point + (scalar + _ED25519_ORDER).to_bytes(32, "little"),
        "S is zero": point + bytes(32),
        "R is the neutral point": b"\x01" + bytes(31) + right[32:],
        "R is the neutral point and S is zero": b"\x01" + bytes(63),
        "of another key": ed_key(which=1).sign(signing_input),
    }


def malleable(setup: Verifiers) -> Cases:
    """Signatures with the negative of s, which ECDSA accepts too. Nothing is identified by the bytes of a signature."""
    signing_input, right = split_signature(setup.token())
    size = len(right) // 2
    negative = ORDERS[setup.algorithm] - int.from_bytes(right[size:], "big")
    yield "the negative of s", with_signature(signing_input, right[:size] + negative.to_bytes(size, "big"))
