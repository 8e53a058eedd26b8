"""Signatures: the same answer as PyJWT for each algorithm, any signature and any key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed448, padding, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard import InvalidSignature, VerificationKey
from authguard.keys.signatures import ALGORITHMS, verify_with
from tests.support.tokens import HMAC_SECRET, ec_key, ed_key, rsa_key

INPUT = b"eyJhbGciOiJIUzI1NiJ9.e30"


@cache
def private_keys() -> Mapping[str, Any]:
    """A key of each kind that an algorithm may be given, right or wrong."""
    return {
        "secret": HMAC_SECRET,
        "short secret": b"s",
        "no secret": b"",
        "RSA 2048": rsa_key(),
        "RSA 3072": rsa_key(3072),
        "RSA 2050": rsa_key(2050),  # of 257 bytes, not all of whose bits it uses
        "P-256": ec_key("P-256"),
        "P-384": ec_key("P-384"),
        "P-521": ec_key("P-521"),
        "secp256k1": ec_key("secp256k1"),
        "Ed25519": ed_key(),
        "Ed448": ed448.Ed448PrivateKey.generate(),
        "X25519": x25519.X25519PrivateKey.generate(),
    }


def material_of(private: Any) -> Any:
    """What verifies the signatures of a key."""
    return private if isinstance(private, bytes) else private.public_key()


#: The keys that each algorithm, or each family of algorithms, signs with.
OWN_KEYS = {
    "HS": ["secret", "short secret"],
    "RS": ["RSA 2048", "RSA 3072", "RSA 2050"],
    "PS": ["RSA 2048", "RSA 3072", "RSA 2050"],
    "ES": ["P-256", "P-384", "P-521", "secp256k1"],
    "EdDSA": ["Ed25519", "Ed448"],
    "Ed25519": ["Ed25519"],
    "Ed448": ["Ed448"],
}


def own_keys(algorithm: str) -> list[str]:
    """The names of the keys that this algorithm signs with."""
    return OWN_KEYS.get(algorithm) or OWN_KEYS[algorithm[:2]]


PAIRS = [(algorithm, name) for algorithm in sorted(ALGORITHMS) for name in own_keys(algorithm)]
#: Algorithms that PyJWT has no name of its own for. It would take a key of the other curve.
NAMED_CURVES = {"Ed25519", "Ed448"}


@cache
def signature_of(algorithm: str, name: str) -> bytes:
    """A valid signature, by PyJWT."""
    return ALGORITHMS[algorithm].sign(INPUT, private_keys()[name])


def is_valid(algorithm: str, material: Any, signature: bytes, data: bytes = INPUT) -> object:
    """Our answer; the type of the exception if there is one."""
    try:
        return verify_with(algorithm, material)(data, signature)
    except Exception as error:  # noqa: BLE001 - it is compared
        return type(error)


def is_valid_by_pyjwt(algorithm: str, material: Any, signature: bytes, data: bytes = INPUT) -> object:
    """The answer of PyJWT.

    For an RSA signature that is not as long as the key it is False. RFC 8017 section 8.1.2 asks for that; with PSS,
    OpenSSL also accepts a signature without its leading zero.
    """
    try:
        answer = ALGORITHMS[algorithm].verify(data, material, signature)
    except Exception as error:  # noqa: BLE001 - it is compared
        return type(error)
    if isinstance(material, rsa.RSAPublicKey):
        return answer and len(signature) == (material.key_size + 7) // 8
    return answer


def spoiled(right: bytes) -> Iterator[bytes]:
    """Signatures that are nearly right: cut, longer, with zeros, in two parts, with other bits."""
    half = len(right) // 2
    yield from (b"", b"\0", right[:-1], right[1:], right + b"\0", b"\0" + right, right + right, right[::-1])
    yield right[:half] + b"\0" + right[half:]
    yield from (right[half:] + right[:half], right[:half], right[half:], bytes(len(right)), b"\xff" * len(right))
    yield from (bytes(half) + right[half:], right[:half] + bytes(half), right.hex().encode(), right[:half] * 2)
    for position in {0, 1, half - 1, half, len(right) - 1}:
        for bit in (1, 0x80):
            yield right[:position] + bytes([right[position] ^ bit]) + right[position + 1 :]


@pytest.mark.parametrize(("algorithm", "name"), PAIRS)
def test_a_right_signature_is_right_and_a_spoiled_one_is_wrong(algorithm: str, name: str) -> None:
    """PyJWT says the same of each, and no spoiled signature raises anything."""
    material, right = material_of(private_keys()[name]), signature_of(algorithm, name)

    assert is_valid(algorithm, material, right) is True
    for signature in spoiled(right):
        assert is_valid(algorithm, material, signature) is False
        assert is_valid_by_pyjwt(algorithm, material, signature) is False


@pytest.mark.parametrize(("algorithm", "name"), PAIRS)
def test_a_signature_is_of_its_bytes_alone(algorithm: str, name: str) -> None:
    """It is wrong for any other bytes, and for another key of its kind."""
    right, keys = signature_of(algorithm, name), private_keys()
    others = [other for other in own_keys(algorithm) if other != name and type(keys[other]) is type(keys[name])]
    data = (b"", INPUT[:-1], INPUT + b".", INPUT.upper(), INPUT.replace(b".", b".."))

    answers = [is_valid(algorithm, material_of(keys[name]), right, changed) for changed in data]
    answers += [is_valid(algorithm, material_of(keys[other]), right) for other in others]

    assert set(answers) == {False}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_no_algorithm_takes_the_signature_of_another(algorithm: str) -> None:
    """Of all valid signatures of all algorithms, those of this algorithm alone are valid, as PyJWT says too."""
    for other, name in PAIRS:
        material, signature = material_of(private_keys()[name]), signature_of(other, name)
        answer = is_valid(algorithm, material, signature)
        # ES256 and ES256K use the same hash, on any curve here. A curve of EdDSA has two names.
        same = {algorithm, other} == {"ES256", "ES256K"} or (other[:2] == "Ed" and name in own_keys(algorithm))
        assert (answer is True) == (algorithm == other or same)
        if algorithm not in NAMED_CURVES:
            assert answer == is_valid_by_pyjwt(algorithm, material, signature)


ODD: Mapping[str, Any] = {
    "None": None,
    "a text": "secret",
    "bytearray": bytearray(b"another secret"),
    "a number": 5,
    "a mapping": {"k": "AAAA"},
    "True": True,
    "an empty text": "",
}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_key_of_the_wrong_kind_verifies_nothing(algorithm: str) -> None:
    """Whatever a source of the app gives as a key, the answer or the exception is that of PyJWT, and never True: an
    HMAC algorithm does not take a public key as its secret, and no other takes bytes."""
    own = own_keys(algorithm)
    wrong = {name: material_of(key) for name, key in private_keys().items() if name not in [*own, "no secret"]}
    signatures = [b"", bytes(32), bytes(64), *(signature_of(other, name) for other, name in PAIRS)]

    for material in [*wrong.values(), *ODD.values()]:
        for signature in signatures:
            answer = is_valid(algorithm, material, signature)
            assert answer is not True
            if algorithm not in NAMED_CURVES:
                assert answer == is_valid_by_pyjwt(algorithm, material, signature)


@pytest.mark.parametrize(("algorithm", "name"), PAIRS)
def test_a_private_key_verifies_as_far_as_pyjwt_verifies_with_it(algorithm: str, name: str) -> None:
    """A source of the app may give a private key by mistake. PyJWT decides about it."""
    private, right = private_keys()[name], signature_of(algorithm, name)

    for signature in (right, right[::-1], b""):
        expected = TypeError if algorithm in NAMED_CURVES else is_valid_by_pyjwt(algorithm, private, signature)
        assert is_valid(algorithm, private, signature) == expected


#: For each algorithm, the key that is its own.
_typical = st.sampled_from(
    [
        ("HS256", "secret"),
        ("HS512", "secret"),
        ("RS256", "RSA 2048"),
        ("PS256", "RSA 2048"),
        ("ES256", "P-256"),
        ("ES384", "P-384"),
        ("ES512", "P-521"),
        ("ES256K", "secp256k1"),
        ("EdDSA", "Ed25519"),
        ("EdDSA", "Ed448"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    pair=_typical, flips=st.lists(st.integers(0, 4000), max_size=3), cut=st.integers(-2, 2), more=st.binary(max_size=3)
)
def test_any_change_of_a_signature_has_the_answer_of_pyjwt(
    pair: tuple[str, str], flips: list[int], cut: int, more: bytes
) -> None:
    """Bits are flipped, bytes are cut off at either end, and others are added."""
    algorithm, name = pair
    material, changed = material_of(private_keys()[name]), bytearray(signature_of(algorithm, name))
    for flip in flips:
        changed[flip // 8 % len(changed)] ^= 1 << flip % 8
    signature = bytes(changed[cut:] if cut > 0 else changed[: len(changed) + cut]) + more

    assert is_valid(algorithm, material, signature) == is_valid_by_pyjwt(algorithm, material, signature)


@settings(max_examples=100, deadline=None)
@given(pair=_typical, signature=st.binary(max_size=300))
def test_invented_bytes_are_no_signature(pair: tuple[str, str], signature: bytes) -> None:
    """Any bytes are wrong, and raise nothing."""
    algorithm, name = pair

    assert is_valid(algorithm, material_of(private_keys()[name]), signature) is False


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
def test_the_salt_of_pss_is_as_long_as_the_hash(algorithm: str) -> None:
    """RFC 7518 section 3.5. A signature with another salt is valid RSA, and wrong here as with PyJWT."""
    private: rsa.RSAPrivateKey = private_keys()["RSA 2048"]
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]

    answers = []
    for salt in (0, 20, digest.digest_size - 1, digest.digest_size, padding.PSS.MAX_LENGTH):
        signature = private.sign(INPUT, padding.PSS(padding.MGF1(digest), salt), digest)
        answers.append(is_valid(algorithm, private.public_key(), signature))

    assert answers == [False, False, False, True, False]


def test_a_key_keeps_how_it_verifies() -> None:
    """The function of a key is made with its first signature, and is no part of what the key is."""
    used, new = (VerificationKey("EdDSA", "a", ed_key().public_key()) for _ in range(2))

    used.verify(INPUT, signature_of("EdDSA", "Ed25519"))
    with pytest.raises(InvalidSignature):
        used.verify(INPUT, bytes(64))

    assert used == new
    assert hash(used) == hash(new)
    assert repr(used) == repr(new) == "VerificationKey(algorithm='EdDSA', kid='a')"
    assert (used._verify is None, new._verify is None) == (False, True)
