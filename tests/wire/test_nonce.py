"""A nonce is accepted only if one of the server's keys signed it, and it carries the time at which it was issued."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.wire.nonce import RANDOM, Nonce, nonce_key
from tests.support.clock import NOW

KEY = nonce_key(b"s" * 32, "orders")
OTHER = nonce_key(b"t" * 32, "orders")
RANDOMNESS = bytes(range(RANDOM))
TEXT = Nonce.mint(NOW, RANDOMNESS).to_text(KEY)


@pytest.mark.rfc("7616-6")
@given(st.floats(0, 1e11), st.binary(min_size=RANDOM, max_size=RANDOM))
def test_what_is_minted_is_read(now: float, random: bytes) -> None:
    """``from_text`` is the reverse of ``to_text``, and the time is exact to the microsecond."""
    nonce = Nonce.mint(now, random)

    assert Nonce.from_text(nonce.to_text(KEY).encode(), [KEY]) == nonce
    assert abs(nonce.issued_at - now) <= 1e-6 + now * 1e-15
    assert len(nonce.identity) == 20


def test_the_format_is_that_of_the_module_docstring() -> None:
    """Computed with the standard library alone: eight bytes of microseconds, randomness, and half of an HMAC."""
    key = hmac.new(b"s" * 32, b"authguard nonce\0orders", sha256).digest()
    identity = int(NOW * 1_000_000).to_bytes(8, "big") + RANDOMNESS

    assert urlsafe_b64decode(TEXT) == identity + hmac.new(key, identity, sha256).digest()[:16]


def test_a_nonce_needs_no_quoting_and_no_escaping() -> None:
    """A nonce is 48 characters that are safe in a quoted-string, a URL and a log."""
    assert len(TEXT) == 48
    assert TEXT.replace("-", "").replace("_", "").isalnum()


@pytest.mark.rfc("7616-6")
def test_every_altered_bit_makes_it_somebody_elses() -> None:
    """Flipping any one bit of time, randomness or tag makes the nonce invalid."""
    decoded = urlsafe_b64decode(TEXT)
    altered = [
        decoded[:index] + bytes([decoded[index] ^ 1 << bit]) + decoded[index + 1 :]
        for index in range(len(decoded))
        for bit in range(8)
    ]

    assert len(altered) == 288
    assert [Nonce.from_text(urlsafe_b64encode(nonce), [KEY]) for nonce in altered] == [None] * 288


MALFORMED = [
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


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_nonce_is_none(text: bytes) -> None:
    """``from_text`` accepts one spelling of a nonce. For anything else it returns None and does not raise."""
    assert Nonce.from_text(text, [KEY]) is None


def test_any_of_the_keys_is_enough() -> None:
    """The order of the keys does not matter. Without the right key, or without any, the result is None."""
    text = TEXT.encode()

    assert Nonce.from_text(text, [OTHER, KEY]) == Nonce.from_text(text, [KEY, OTHER]) is not None
    assert Nonce.from_text(text, [OTHER]) is Nonce.from_text(text, []) is None


def test_each_secret_and_realm_has_its_own_key() -> None:
    """A nonce of one realm is invalid in another realm, even under the same secret."""
    keys = {nonce_key(secret, realm) for secret in (b"s" * 32, b"t" * 32) for realm in ("orders", "order", "Größe", "")}

    assert len(keys) == 8


def test_a_nonce_can_be_created_before_the_epoch() -> None:
    """A machine without a set clock starts in 1970, or a little earlier. The time is then 0."""
    assert Nonce.mint(-5.0, RANDOMNESS).issued_at == 0.0
