"""The verification cache: short, bounded, and only for passwords that were right."""

from __future__ import annotations

import pytest

from authguard.caching import BoundedCache, KeyedHash
from authguard.errors import ConfigurationError
from authguard.schemes.password_verifier import VerificationCache
from authguard.testing import ManualClock


def test_an_entry_lives_for_its_seconds() -> None:
    """An entry is found until its seconds are over, and other keys are not found."""
    clock = ManualClock(1000)
    remembered = VerificationCache(seconds=60, clock=clock)
    remembered.add(b"fit")

    clock.move(59.9)
    before = remembered.has(b"fit"), remembered.has(b"other")
    clock.move(0.1)

    assert (before, remembered.has(b"fit")) == ((True, False), False)


def test_a_look_up_does_not_prolong_an_entry() -> None:
    """A look-up does not prolong an entry. Otherwise a client that asks often would never be hashed again."""
    clock = ManualClock(1000)
    remembered = VerificationCache(seconds=60, clock=clock)
    remembered.add(b"fit")

    known = []
    for _ in range(7):
        known.append(remembered.has(b"fit"))
        clock.move(10)

    assert known == [True] * 6 + [False]


def test_it_is_bounded() -> None:
    """A full cache drops its oldest entry."""
    remembered = VerificationCache(seconds=60, most=8, clock=ManualClock(1000))
    for number in range(100):
        remembered.add(b"%d" % number)

    known = [number for number in range(100) if remembered.has(b"%d" % number)]

    assert len(known) <= 8
    assert known[-4:] == [96, 97, 98, 99]


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("nan"), float("inf"), True, "60"])
def test_it_is_short(seconds: float) -> None:
    """The time to keep an entry is above zero and at most an hour. The error names the argument of ``Basic``."""
    with pytest.raises(ConfigurationError) as caught:
        VerificationCache(seconds=seconds, clock=ManualClock(1000))

    assert caught.value.argument == "remember"


def test_a_keyed_hash_is_of_its_texts_in_their_order() -> None:
    """Different lists of texts have different hashes, whatever the texts contain."""
    keyed = KeyedHash()
    lists = [("ab", ""), ("a", "b"), ("", "ab"), ("b", "a"), ("ab",), ("a", "", "b"), ("\0\0\0\x01a", "b"), ("\ud800",)]

    hashes = [keyed(*texts) for texts in lists]

    assert len(set(hashes)) == len(lists)
    assert hashes == [keyed(*texts) for texts in lists]


def test_a_keyed_hash_is_of_its_object() -> None:
    """Each keyed hash has a key of its own, of 32 bytes."""
    one, other = KeyedHash(), KeyedHash()

    assert one("alice") != other("alice")
    assert len({one._key, other._key}) == 2
    assert {len(one._key), len(one("alice"))} == {32}


def test_the_half_that_was_written_last_is_kept() -> None:
    """The bounded cache keeps the entries that were written last, and never more than its maximum."""
    recent = BoundedCache[int](10)

    for number in range(100):
        recent.put(b"%d" % number, number)
        found = [one for one in range(number + 1) if b"%d" % one in recent]
        assert len(found) <= 10
        assert found[-5:] == list(range(number + 1))[-5:]
        assert [recent.get(b"%d" % one) for one in found] == found


def test_a_new_value_replaces_the_old_one() -> None:
    """A new value replaces the old one, and a removed entry is gone, in whichever half of the cache it was."""
    recent = BoundedCache[int](6)
    for key in (b"a", b"b", b"c", b"d"):  # three of them in the older half
        recent.put(key, 1)

    recent.put(b"a", 2)
    for key in (b"b", b"d", b"e"):
        recent.discard(key)

    assert [recent.get(key) for key in (b"a", b"b", b"c", b"d", b"e")] == [2, None, 1, None, None]
    assert [key in recent for key in (b"a", b"b", b"c", b"d", b"e")] == [True, False, True, False, False]
    recent.discard(b"a")
    assert recent.get(b"a") is None
