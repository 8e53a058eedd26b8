"""The bounded cache: how many values it keeps, and how many bytes of them."""

from __future__ import annotations

from authguard.caching import BoundedCache


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
