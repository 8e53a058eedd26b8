"""A nonce is ours where one of our keys made it, to the last bit, and says when."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.wire.nonce import RANDOM, Nonce, nonce_key
from tests.minting import NOW

KEY = nonce_key(b"s" * 32, "orders")
OTHER = nonce_key(b"t" * 32, "orders")
RANDOMNESS = bytes(range(RANDOM))
TEXT = Nonce.mint(NOW, RANDOMNESS).to_text(KEY)


@pytest.mark.rfc("7616-6")
@given(st.floats(0, 1e11), st.binary(min_size=RANDOM, max_size=RANDOM))
def test_what_is_minted_is_read(now: float, random: bytes) -> None:
    """``from_text`` is the reverse of ``to_text``, and the stamp is right to the microsecond."""
    nonce = Nonce.mint(now, random)

    assert Nonce.from_text(nonce.to_text(KEY).encode(), [KEY]) == nonce
    assert abs(nonce.issued_at - now) <= 1e-6 + now * 1e-15
    assert len(nonce.identity) == 20


def test_it_is_what_the_module_says() -> None:
    """Computed by the standard library alone: eight octets of microseconds, randomness, and a tag cut in half."""
    key = hmac.new(b"s" * 32, b"authguard nonce\0orders", sha256).digest()
    identity = int(NOW * 1_000_000).to_bytes(8, "big") + RANDOMNESS

    assert urlsafe_b64decode(TEXT) == identity + hmac.new(key, identity, sha256).digest()[:16]


def test_it_needs_no_quoting_and_no_escape() -> None:
    """48 characters that are safe in a quoted-string, a URL and a log."""
    assert len(TEXT) == 48
    assert TEXT.replace("-", "").replace("_", "").isalnum()


@pytest.mark.rfc("7616-6")
def test_every_altered_bit_makes_it_somebody_elses() -> None:
    """Of stamp, randomness and tag."""
    octets = urlsafe_b64decode(TEXT)
    altered = [
        octets[:place] + bytes([octets[place] ^ 1 << bit]) + octets[place + 1 :]
        for place in range(len(octets))
        for bit in range(8)
    ]

    assert len(altered) == 288
    assert [Nonce.from_text(urlsafe_b64encode(one), [KEY]) for one in altered] == [None] * 288


SPELLED_OTHERWISE = [
    b"",
    b"null",
    TEXT.encode()[:-1],
    TEXT.encode() + b"A",
    TEXT.encode() + b"=",
    TEXT.encode() + b"\n",
    b"\n" + TEXT.encode()[1:],
    b"=" * 48,
    b"+" * 48,
    b"/" * 48,
    b"\xff" * 48,
    TEXT.encode() * 300,
]


@pytest.mark.parametrize("octets", SPELLED_OTHERWISE)
def test_what_is_spelled_otherwise_is_none_of_ours(octets: bytes) -> None:
    """There is one spelling, and whatever else is sent is no error."""
    assert Nonce.from_text(octets, [KEY]) is None


def test_any_of_the_keys_knows_it() -> None:
    """In whatever order; none of none."""
    octets = TEXT.encode()

    assert Nonce.from_text(octets, [OTHER, KEY]) == Nonce.from_text(octets, [KEY, OTHER]) is not None
    assert Nonce.from_text(octets, [OTHER]) is Nonce.from_text(octets, []) is None


def test_a_key_is_of_one_secret_and_one_realm() -> None:
    """A nonce of one realm is none of another's under the same secret."""
    keys = {nonce_key(secret, realm) for secret in (b"s" * 32, b"t" * 32) for realm in ("orders", "order", "Größe", "")}

    assert len(keys) == 8


def test_a_clock_before_the_epoch_still_mints() -> None:
    """Some machines start in 1970, and some a little earlier."""
    assert Nonce.mint(-5.0, RANDOMNESS).issued_at == 0.0
