"""Bounded caches: how many values they keep, how many bytes of them, and when they free them. Keyed hashes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from itertools import count
from typing import NoReturn, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authguard.caching import BoundedCache, KeyedHash


def test_a_keyed_hash_is_of_its_texts_in_their_order() -> None:
    """Different lists of texts have different hashes, whatever the texts contain."""
    keyed = KeyedHash()
    lists = [("ab", ""), ("a", "b"), ("", "ab"), ("b", "a"), ("ab",), ("a", "", "b"), ("\0\0\0\x01a", "b"), ("\ud800",)]

    hashes = [keyed(*texts) for texts in lists]

    assert len(set(hashes)) == len(lists)
    assert hashes == [keyed(*texts) for texts in lists]


def test_a_keyed_hash_is_of_its_object() -> None:
    """Each keyed hash has a key of its own, so that one text has different hashes, of 32 bytes."""
    hashes = {KeyedHash()("alice") for _ in range(10)}

    assert len(hashes) == 10
    assert set(map(len, hashes)) == {32}


def test_a_keyed_hash_of_bytes_is_of_these_bytes() -> None:
    """Equal bytes have equal hashes, of 32 bytes, and other bytes have others."""
    keyed = KeyedHash()

    assert keyed.of(b"alice") == keyed.of(b"alice") != keyed.of(b"bob")
    assert len(keyed.of(b"alice")) == 32
    assert keyed.of(b"('alice',)") == keyed("alice")


def test_where_blake2_is_forbidden_a_keyed_hash_is_an_hmac(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some platforms refuse BLAKE2 for FIPS. There a keyed hash is HMAC-SHA-256, under a key of its own too."""

    def refuse(**_: object) -> NoReturn:
        raise ValueError("blake2b is not available in FIPS mode")

    monkeypatch.setattr(hashlib, "blake2b", refuse)
    one, other = KeyedHash(), KeyedHash()

    assert isinstance(one._keyed, hmac.HMAC)
    assert one("a", "b") == one("a", "b") != one("ab", "")
    assert one("a") != other("a")


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


def sized(most_bytes: int) -> BoundedCache[str]:
    """A cache of texts that may have so many characters together."""
    return BoundedCache(100, most_bytes=most_bytes, size=len)


def test_long_values_displace_older_ones_before_their_number_does() -> None:
    """All values together have no more than ``most_bytes``, and the half that was written last is always kept."""
    cache = sized(20)

    for number in range(50):
        cache.put(b"%d" % number, "four")
        assert sum(map(len, [*cache._young.values(), *cache._old.values()])) <= 20
        assert all(cache.get(b"%d" % kept) == "four" for kept in range(max(0, number - 1), number + 1))
    assert cache.get(b"0") is None


def test_a_value_that_is_too_long_is_not_kept() -> None:
    """A value of more than half of the bytes would push out all others. The value that it replaces is gone too."""
    cache = sized(20)
    cache.put(b"a", "short")
    cache.put(b"b", "short")

    cache.put(b"a", "x" * 11)

    assert (cache.get(b"a"), cache.get(b"b"), len(cache)) == (None, "short", 1)


def test_values_that_are_replaced_or_removed_do_not_count() -> None:
    """Writing one value again and again pushes out no other."""
    cache = sized(20)
    cache.put(b"a", "aaaa")

    for _ in range(100):
        cache.put(b"b", "bbbb")
        cache.put(b"c", "cc")
        cache.discard(b"c")

    assert (cache.get(b"a"), cache.get(b"b"), len(cache)) == ("aaaa", "bbbb", 2)


class Alive:
    """Counts the values that are in memory, and their bytes."""

    def __init__(self) -> None:
        self.number = self.bytes = 0

    def value(self, size: int = 1) -> Value:
        """A new value of so many bytes."""
        return Value(self, size)


class Value:
    """A value that is counted until it is freed."""

    def __init__(self, alive: Alive, size: int) -> None:
        self.alive, self.size = alive, size
        alive.number += 1
        alive.bytes += size

    def __del__(self) -> None:
        self.alive.number -= 1
        self.alive.bytes -= self.size


def size_of(value: Value) -> int:
    """The bytes of a value."""
    return value.size


def most_freed_at_once(store: Callable[[Value], None], alive: Alive, number: int) -> int:
    """How many values were freed at most while one was stored."""
    most = 0
    for _ in range(number):
        before = alive.number
        store(alive.value())
        most = max(most, before + 1 - alive.number)
    return most


def test_a_dropped_generation_is_freed_two_values_at_a_time() -> None:
    """To free half of a large cache at once would hold up all requests."""
    alive, keys = Alive(), count()
    cache = BoundedCache[Value](1000)

    most = most_freed_at_once(lambda value: cache.put(b"%d" % next(keys), value), alive, 10_000)

    assert most == 2


def test_a_cache_that_is_cleared_is_freed_two_values_at_a_time() -> None:
    """Nothing is found in it any more, but its values are freed as new ones come."""
    alive, keys = Alive(), count()
    cache = BoundedCache[Value](1000)
    for number in range(900):
        cache.put(b"%d" % number, alive.value())

    cache.clear()

    assert (len(cache), cache.get(b"899"), b"899" in cache, alive.number) == (0, None, False, 900)
    assert most_freed_at_once(lambda value: cache.put(b"new%d" % next(keys), value), alive, 450) == 2
    assert alive.number == len(cache) == 450


def test_the_bytes_of_a_cache_that_is_cleared_do_not_count() -> None:
    """After it was cleared, a cache keeps as many bytes as a new one."""
    cache = sized(100)
    cache.put(b"before", "x" * 40)
    cache.clear()

    for number in range(7):
        cache.put(b"%d" % number, "x" * 10)

    assert [number for number in range(7) if cache.get(b"%d" % number) is None] == []


Step: TypeAlias = tuple[str, int, int]

steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "discard", "clear"]), st.integers(0, 30), st.integers(0, 60))
)


@given(steps=steps, most=st.integers(2, 12), most_bytes=st.sampled_from([20, 100, 10_000]))
@example(steps=[*[("put", key, 2) for key in range(10)], ("put", 10, 10)], most=12, most_bytes=20)
@settings(max_examples=200, deadline=None)
def test_what_is_not_freed_yet_counts_towards_the_bounds(steps: list[Step], most: int, most_bytes: int) -> None:
    """Whatever is stored and removed, no more values and bytes are in memory than the cache may have."""
    alive, plain = Alive(), Alive()
    sized = BoundedCache[Value](most, most_bytes=most_bytes, size=size_of)
    unsized = BoundedCache[Value](most)

    for action, key, size in steps:
        for cache, values in ((sized, alive), (unsized, plain)):
            name = b"%d" % key
            if action == "put":
                cache.put(name, values.value(size))
            elif action == "discard":
                cache.discard(name)
            else:
                cache.clear()
            assert len(cache) <= values.number <= most
        assert alive.bytes <= most_bytes


@given(steps=steps, most=st.integers(2, 12))
@example(steps=[("put", 0, 0), ("put", 1, 0), ("discard", 1, 0)], most=2)
@settings(max_examples=100, deadline=None)
def test_a_cache_finds_what_was_stored_last(steps: list[Step], most: int) -> None:
    """It finds the half that was written last, and never a value that was replaced or removed."""
    cache = BoundedCache[tuple[int, int]](most)
    written: dict[int, tuple[int, int]] = {}
    puts: list[tuple[int, int]] = []

    for number, (action, key, _) in enumerate(steps):
        if action == "put":
            written[key] = (number, key)
            puts.append((number, key))
            cache.put(b"%d" % key, written[key])
        elif action == "discard":
            written.pop(key, None)
            cache.discard(b"%d" % key)
        else:
            written.clear()
            cache.clear()
        found = {one: cache.get(b"%d" % one) for one in range(31)}
        assert all(found[one] in (None, written.get(one)) for one in found)
        assert len(cache) == sum(value is not None for value in found.values())
        assert all(found[one] == put for put in puts[-(most // 2) :] if written.get(one := put[1]) == put)


def test_a_key_is_young_until_half_of_the_values_are_newer() -> None:
    """Writing the value of a young key again would change nothing."""
    cache = BoundedCache[int](10)
    cache.put(b"a", 1)

    young = []
    for number in range(10):
        young.append(cache.is_young(b"a"))
        cache.put(b"%d" % number, number)

    assert young == [True] * 4 + [False] * 6
