"""Public keys that are refused: too short, too slow to verify with, or such that anybody can make their signatures."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa

from authguard.errors import ConfigurationError

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384  # OpenSSL verifies with no longer key
#: FIPS 186-5 allows public exponents of up to 256 bits, but keys in use have 65537, and a few have 3.
MIN_EXPONENT, MAX_EXPONENT = 3, 2**32

EdwardsKey: TypeAlias = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey


class _Curve(NamedTuple):
    """An Edwards curve: its modulus, which bit of an encoded point is not of y, and y of each point of small order."""

    prime: int
    sign_bit: int
    small_order: frozenset[int]


_P25519 = 2**255 - 19
_P448 = 2**448 - 2**224 - 1
#: y of two of the four points of order 8 on edwards25519. The other two have -y.
_Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7

# RFC 8032 section 5.1: the cofactor is 8, and eight points have an order of 8 or less. Two of order 4 have y = 0.
_ED25519 = _Curve(_P25519, 1 << 255, frozenset({1, _P25519 - 1, 0, _Y_OF_ORDER_8, _P25519 - _Y_OF_ORDER_8}))
# RFC 8032 section 5.2: the cofactor is 4, and four points have an order of 4 or less. Two of order 4 have y = 0.
_ED448 = _Curve(_P448, 1 << 455, frozenset({1, _P448 - 1, 0}))


def check_rsa_key(key: rsa.RSAPublicKey) -> None:
    """Raise ``ConfigurationError`` for a key with a size or an exponent that is refused."""
    if key.key_size < MIN_RSA_BITS:
        raise ConfigurationError("keys", f"an RSA key of {key.key_size} bits; {MIN_RSA_BITS} is the minimum")
    if key.key_size > MAX_RSA_BITS:
        raise ConfigurationError("keys", f"an RSA key of {key.key_size} bits; {MAX_RSA_BITS} is the maximum")
    check_exponent(key.public_numbers().e)


def check_exponent(exponent: int) -> None:
    """Raise ``ConfigurationError`` for the public exponent of an RSA key that is insecure or too large.

    The longer the exponent, the longer a verification takes: with 3,000 bits over a hundred times as long as with
    65537.
    """
    if exponent < MIN_EXPONENT or exponent % 2 == 0:
        problem = f"is less than {MIN_EXPONENT}" if exponent < MIN_EXPONENT else "is even"
        raise ConfigurationError("keys", f"an RSA key whose public exponent {problem}; make one with 65537")
    if exponent > MAX_EXPONENT:
        problem = f"has {exponent.bit_length()} bits; {MAX_EXPONENT.bit_length() - 1} is the maximum"
        raise ConfigurationError("keys", f"an RSA key whose public exponent {problem}")


def check_edwards_key(key: EdwardsKey) -> None:
    """Raise ``ConfigurationError`` for a point of small order, and for one that is not encoded as RFC 8032 says.

    A point of small order has a few multiples only, so that some signatures are valid for every message, or for one in
    a few. OpenSSL does not refuse such keys, and neither does it refuse a y that is not below the modulus.
    """
    encoded = key.public_bytes_raw()
    curve = _ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else _ED448
    y = int.from_bytes(encoded, "little") & ~curve.sign_bit
    if y % curve.prime in curve.small_order:
        kind = "public key of small order" if any(encoded) else "public key of zeros"
        raise ConfigurationError("keys", f"a {kind}: anybody can make its signatures")
    if y >= curve.prime:
        raise ConfigurationError("keys", "a public key that is not encoded as RFC 8032 section 5 says")
