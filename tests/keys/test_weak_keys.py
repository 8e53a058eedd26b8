"""Keys that are refused when they are read: exponents that make work, and points with which anybody can sign."""

from __future__ import annotations

import logging
from base64 import encodebytes
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authguard import JWK, PEM, JWKSet
from tests.keys.key_material import binding_problem, bound_key
from tests.support.key_source import StubbedSource
from tests.support.tokens import b64url, ed_key, key_set, public_jwk, public_pem, rsa_key

MODULUS = rsa_key().public_key().public_numbers().n
#: A modulus of 3,072 bits, with which OpenSSL takes exponents of any length. It is the product of nothing known.
LONG_MODULUS = (1 << 3071) | 1

# --- RSA exponents ----------------------------------------------------------------------------------------------------


def rsa_jwk(exponent: int, modulus: int = MODULUS) -> dict[str, Any]:
    """The JWK of an RSA key with this public exponent."""
    size = max(1, (exponent.bit_length() + 7) // 8)
    return {
        "kty": "RSA",
        "n": b64url(modulus.to_bytes(-(-modulus.bit_length() // 8))),
        "e": b64url(exponent.to_bytes(size)),
    }


def rsa_pem(exponent: int, modulus: int = MODULUS) -> bytes:
    """The PEM of an RSA key with this public exponent, written by hand: cryptography would refuse to make some."""

    def der(tag: int, content: bytes) -> bytes:
        size = len(content)
        length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2)
        return bytes([tag]) + length + content

    def integer(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1))

    key = der(0x30, integer(modulus) + integer(exponent))
    rsa_encryption = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    info = der(0x30, rsa_encryption + der(3, b"\0" + key))
    return b"-----BEGIN PUBLIC KEY-----\n" + encodebytes(info) + b"-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("exponent", [3, 17, 65537, 2**32 - 1])
def test_a_small_odd_exponent_is_accepted(exponent: int) -> None:
    """65537 is what everybody uses, 3 was common once, and up to 32 bits the work stays small."""
    for material in (JWK(rsa_jwk(exponent)), PEM(rsa_pem(exponent))):
        assert bound_key(material, "RS256").material.public_numbers().e == exponent


@pytest.mark.parametrize(
    ("exponent", "modulus", "problem"),
    [
        (2**32 + 1, MODULUS, "an RSA key whose public exponent has 33 bits; 32 is the maximum"),
        ((1 << 2040) + 1, MODULUS, "an RSA key whose public exponent has 2041 bits; 32 is the maximum"),
        ((1 << 3069) + 1, LONG_MODULUS, "an RSA key whose public exponent has 3070 bits; 32 is the maximum"),
    ],
    ids=["33 bits", "2041 bits", "3070 bits"],
)
@pytest.mark.rfc("limits-3")
def test_A09_a_long_exponent_is_refused(exponent: int, modulus: int, problem: str) -> None:  # noqa: N802
    """A09: with an exponent of 3,070 bits one verification takes hundreds of times as long as with 65537."""
    assert binding_problem(JWK(rsa_jwk(exponent, modulus))) == problem
    assert binding_problem(PEM(rsa_pem(exponent, modulus))) == problem
    assert binding_problem(JWKSet({"keys": [rsa_jwk(exponent, modulus)]})).endswith(problem)


@pytest.mark.parametrize(
    ("exponent", "problem"), [(0, "is less than 3"), (1, "is less than 3"), (2, "is less than 3"), (65536, "is even")]
)
def test_an_exponent_that_is_even_or_too_small_is_refused(exponent: int, problem: str) -> None:
    """With the exponent 1 every message is its own signature, and an even exponent is no exponent of RSA."""
    refused = f"an RSA key whose public exponent {problem}; make one with 65537"
    assert binding_problem(JWK(rsa_jwk(exponent))) == refused
    # cryptography from 47 on reads no such PEM, so nobody knows which of the three it is.
    unread = "this PEM contains an RSA key whose public exponent is even, less than 3 or too large"
    assert binding_problem(PEM(rsa_pem(exponent))) in {refused, unread}


# --- Edwards curves ---------------------------------------------------------------------------------------------------

P25519, P448 = 2**255 - 19, 2**448 - 2**224 - 1
Point = tuple[int, int]


def add(p: int, a: int, d: int, first: Point, second: Point) -> Point:
    """The sum of two points of the Edwards curve a*x*x + y*y = 1 + d*x*x*y*y (RFC 8032 sections 5.1.4 and 5.2.4)."""
    (x1, y1), (x2, y2) = first, second
    product = d * x1 * x2 * y1 * y2 % p
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, p)
    y = (y1 * y2 - a * x1 * x2) * pow(1 - product, -1, p)
    return x % p, y % p


add25519 = partial(add, P25519, -1, -121665 * pow(121666, -1, P25519) % P25519)
add448 = partial(add, P448, 1, -39081 % P448)


def multiply(plus: Callable[[Point, Point], Point], factor: int, point: Point) -> Point:
    """A multiple of a point."""
    total: Point = (0, 1)
    while factor:
        if factor & 1:
            total = plus(total, point)
        point, factor = plus(point, point), factor >> 1
    return total


def decoded25519(raw: bytes) -> Point | None:
    """The point of edwards25519 that these bytes encode; None if they encode none (RFC 8032 section 5.1.3)."""
    p, d = P25519, -121665 * pow(121666, -1, P25519) % P25519
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    x = pow(square, (p + 3) // 8, p)
    if (x * x - square) % p:
        x = x * pow(2, (p - 1) // 4, p) % p
    return (x, y) if (x * x - square) % p == 0 else None


def small_points25519() -> set[Point]:
    """All eight points whose order divides 8: multiples of the order of the group, from points that nobody chose."""
    order = 2**252 + 27742317777372353535851937790883648493
    points: set[Point] = set()
    number = 2
    while len(points) < 8:
        number += 1
        point = decoded25519(number.to_bytes(32, "little"))
        if point is not None:
            small = multiply(add25519, order, point)
            points |= {multiply(add25519, factor, small) for factor in range(8)}
    return points


#: RFC 8032 section 5.2: all points whose order divides 4.
SMALL_POINTS_448: set[Point] = {(0, 1), (0, P448 - 1), (1, 0), (P448 - 1, 0)}


def encodings(points: set[Point], prime: int, size: int) -> set[bytes]:
    """Every encoding of the points that a decoder may take: with either sign, and with y + p where there is room."""
    ys = {y + extra for _, y in points for extra in (0, prime)}
    bits = size * 8 - 1 if size == 32 else 448
    return {((y | sign << (size * 8 - 1)).to_bytes(size, "little")) for y in ys if y < 1 << bits for sign in (0, 1)}


SMALL_25519 = encodings(small_points25519(), P25519, 32)
SMALL_448 = encodings(SMALL_POINTS_448, P448, 57)


def okp_jwk(raw: bytes) -> dict[str, Any]:
    """The JWK of an Edwards key with this encoding."""
    return {"kty": "OKP", "crv": "Ed25519" if len(raw) == 32 else "Ed448", "x": b64url(raw)}


def okp_pem(raw: bytes) -> bytes:
    """The PEM of an Edwards key with this encoding."""
    kind = ed25519.Ed25519PublicKey if len(raw) == 32 else ed448.Ed448PublicKey
    return kind.from_public_bytes(raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_the_points_of_small_order_are_all_of_them() -> None:
    """The groups are cyclic where they have small order: eight and four points, which make 14 and 10 encodings."""
    assert len(small_points25519()) == 8
    assert {multiply(add25519, 8, point) for point in small_points25519()} == {(0, 1)}
    assert {multiply(add448, 4, point) for point in SMALL_POINTS_448} == {(0, 1)}
    assert (len(SMALL_25519), len(SMALL_448)) == (14, 10)
    assert {
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    } <= SMALL_25519


@pytest.mark.parametrize("raw", sorted(SMALL_25519 | SMALL_448), ids=bytes.hex)
@pytest.mark.rfc("limits-7")
def test_A09_a_key_of_small_order_is_refused(raw: bytes) -> None:  # noqa: N802
    """A09: all eight points of small order of Ed25519 and all four of Ed448, in every encoding."""
    kind = "zeros" if not any(raw) else "small order"
    problem = f"a public key of {kind}: anybody can make its signatures"

    assert binding_problem(JWK(okp_jwk(raw)), "EdDSA") == problem
    assert binding_problem(PEM(okp_pem(raw)), "EdDSA") == problem
    assert binding_problem(JWKSet({"keys": [okp_jwk(raw)]}), "EdDSA").endswith(problem)


@pytest.mark.parametrize("raw", sorted(SMALL_25519), ids=bytes.hex)
def test_openssl_takes_a_signature_that_nobody_made_with_such_a_key(raw: bytes) -> None:
    """Why they are refused: one signature of zeros is valid for one message in eight, or for every message."""
    key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    signature = b"\x01" + bytes(63)

    def verifies(message: bytes) -> bool:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    assert any(verifies(b"%d" % number) for number in range(500)) or int.from_bytes(raw, "little") >= P25519


@pytest.mark.parametrize(
    "raw",
    [
        *[(P25519 + number).to_bytes(32, "little") for number in (2, 3, 18)],
        (P25519 + 3 | 1 << 255).to_bytes(32, "little"),
        *[(P448 + number).to_bytes(57, "little") for number in (2, 2**224)],
        *[(5 | 1 << bit).to_bytes(57, "little") for bit in (448, 450, 454)],
    ],
    ids=bytes.hex,
)
def test_a_point_that_is_not_reduced_is_refused(raw: bytes) -> None:
    """RFC 8032 sections 5.1.3 and 5.2.3: y must be below the modulus. Programs that make keys write nothing else."""
    assert binding_problem(JWK(okp_jwk(raw)), "EdDSA") == "a public key that is not encoded as RFC 8032 section 5 says"


@pytest.mark.parametrize("number", range(20))
def test_keys_that_are_generated_are_accepted(number: int) -> None:
    """No key that a program makes is refused."""
    for private in (ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()):
        assert bound_key(PEM(public_pem(private)), "EdDSA").algorithm == "EdDSA"


# --- key servers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weak", "problem"),
    [
        (okp_jwk(bytes(32)), "a public key of zeros: anybody can make its signatures"),
        (okp_jwk(b"\x01" + bytes(56)), "a public key of small order: anybody can make its signatures"),
        (rsa_jwk(2**32 + 1), "an RSA key whose public exponent has 33 bits; 32 is the maximum"),
        (rsa_jwk(65536), "an RSA key whose public exponent is even; make one with 65537"),
    ],
    ids=["zeros", "small order", "long exponent", "even exponent"],
)
async def test_A09_a_weak_key_of_a_key_server_is_skipped(  # noqa: N802
    caplog: pytest.LogCaptureFixture, weak: dict[str, Any], problem: str
) -> None:
    """A09: the other keys of the set are used, and one WARNING says what is wrong with this one."""
    source = StubbedSource()
    source.server.answer = key_set({**weak, "kid": "weak"}, good=rsa_key())

    assert await source.key_ids("good") == ["good"]
    assert await source.key_ids("weak", "EdDSA") == await source.key_ids("weak") == []
    await source.wait_for_fetch()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == f"{source.keys.name}: key 0 (kid 'weak') is skipped: {problem}"


def test_good_keys_stay_good() -> None:
    """The public keys of these tests pass all checks."""
    assert bound_key(JWK(public_jwk(ed_key())), "EdDSA").kid is None
    assert isinstance(bound_key(JWK(public_jwk(rsa_key())), "RS256").material, rsa.RSAPublicKey)
