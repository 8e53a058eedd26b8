"""Verify a signature with a key (RFC 7518 section 3.1, RFC 8037 section 3.1).

PyJWT does the same, and makes the padding, the hash and the curve's parameters anew for each signature. Here they are
made once for each key. What is not a key of the kind that the algorithm needs is left to PyJWT, which then raises.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jwt.algorithms import Algorithm, get_default_algorithms

#: RFC 7518 section 3.1 and RFC 8037: those of PyJWT, without `none` and without its alias ES521.
ALGORITHMS: dict[str, Algorithm] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name not in {"none", "ES521"}
}
# RFC 9864 section 2.2: each curve of EdDSA has a name of its own.
ALGORITHMS |= {"Ed25519": ALGORITHMS["EdDSA"], "Ed448": ALGORITHMS["EdDSA"]}

#: The names of the algorithm of an Edwards curve: that of RFC 8037 for both curves, and that of RFC 9864.
ED25519, ED448 = frozenset({"EdDSA", "Ed25519"}), frozenset({"EdDSA", "Ed448"})

#: ``function(signing_input, signature)``: whether the signature is valid.
Verify: TypeAlias = Callable[[bytes, bytes], bool]

_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


def verify_with(algorithm: str, material: Any) -> Verify:
    """The function that verifies signatures of this algorithm with this key, as PyJWT prepares it."""
    family, size = algorithm[:2], algorithm[2:]
    if family == "HS" and isinstance(material, bytes):
        return partial(_verify_hmac, material, f"sha{size}")
    if family in {"RS", "PS"} and isinstance(material, rsa.RSAPublicKey):
        digest = _HASHES[size]
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if family == "PS":
            scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
        # RFC 8017 sections 8.1.2 and 8.2.2, step 1. With PSS, OpenSSL also accepts it without a leading zero, so that a
        # token would have two spellings.
        return partial(_verify_rsa, material, (material.key_size + 7) // 8, scheme, digest)
    if family == "ES" and isinstance(material, ec.EllipticCurvePublicKey):
        return partial(_verify_ecdsa, material, (material.curve.key_size + 7) // 8, ec.ECDSA(_hash_of(algorithm)))
    if (algorithm in ED25519 and isinstance(material, ed25519.Ed25519PublicKey)) or (
        algorithm in ED448 and isinstance(material, ed448.Ed448PublicKey)
    ):
        return partial(_verify_eddsa, material)
    if algorithm in {"Ed25519", "Ed448"}:  # PyJWT would take a key of the other curve
        msg = f"a {type(material).__name__} is not a key for {algorithm}"
        raise TypeError(msg)
    return partial(_verify_by_pyjwt, ALGORITHMS[algorithm], material)


def _hash_of(algorithm: str) -> hashes.HashAlgorithm:
    return _HASHES["256" if algorithm == "ES256K" else algorithm[2:]]


def _verify_hmac(secret: bytes, digest: str, signing_input: bytes, signature: bytes) -> bool:
    return hmac.compare_digest(hmac.digest(secret, signing_input, digest), signature)


def _verify_rsa(
    key: rsa.RSAPublicKey,
    length: int,
    scheme: padding.AsymmetricPadding,
    digest: hashes.HashAlgorithm,
    signing_input: bytes,
    signature: bytes,
) -> bool:
    if len(signature) != length:
        return False
    try:
        key.verify(signature, signing_input, scheme, digest)
    except InvalidSignature:
        return False
    return True


def _verify_ecdsa(
    key: ec.EllipticCurvePublicKey, half: int, scheme: ec.ECDSA, signing_input: bytes, signature: bytes
) -> bool:
    """RFC 7518 section 3.4: the two numbers of the signature follow one another, each as long as the curve's order."""
    if len(signature) != 2 * half:
        return False
    der = encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    try:
        key.verify(der, signing_input, scheme)
    except InvalidSignature:
        return False
    return True


def _verify_eddsa(key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey, signing_input: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, signing_input)
    except InvalidSignature:
        return False
    return True


def _verify_by_pyjwt(algorithm: Algorithm, material: Any, signing_input: bytes, signature: bytes) -> bool:
    return algorithm.verify(signing_input, material, signature)
