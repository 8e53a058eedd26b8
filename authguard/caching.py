"""Bounded caches, and a keyed hash for what a stranger may have chosen: names, passwords and tokens."""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class KeyedHash:
    """HMAC-SHA-256 of several texts, under a random key that only this object has.

    Kept in place of a name, a password or a token: two can be compared, but none can be read or guessed from it.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, *texts: str | None) -> bytes:
        # The repr of a tuple is unambiguous, and it escapes what UTF-8 cannot encode.
        return hmac.digest(self._key, repr(texts).encode(), "sha256")


class BoundedCache(Generic[V]):
    """At most ``most`` values by keys of bytes. The half that was written last is always kept.

    With ``most_bytes``, the sizes of all values together are bounded too. ``size`` is the size of one value in bytes; a
    value of more than half of ``most_bytes`` is not kept.

    It has two generations instead of an order, which takes half the memory of an ``OrderedDict``.
    """

    def __init__(self, most: int, *, most_bytes: float = math.inf, size: Callable[[V], int] = lambda value: 0) -> None:
        self._half, self._half_bytes = most // 2, most_bytes / 2
        self._size = size
        self._young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}
        #: The bytes of the young generation.
        self._bytes = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> V | None:
        """The value of this key; None if there is none."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: bytes, value: V) -> None:
        """Store the value. When the young generation is full, the old one is dropped."""
        self.discard(key)
        size = self._size(value)
        if size > self._half_bytes:
            return
        if self._bytes + size > self._half_bytes:
            self._turn()
        self._young[key] = value
        self._bytes += size
        if len(self._young) >= self._half:
            self._turn()

    def _turn(self) -> None:
        """Begin a new generation. The one before the last is dropped."""
        self._old, self._young, self._bytes = self._young, {}, 0

    def discard(self, key: bytes) -> None:
        """Remove the key, if it is there."""
        value = self._young.pop(key, None)
        if value is not None:
            self._bytes -= self._size(value)
        self._old.pop(key, None)


class NegativeCache:
    """Remembers for ``seconds`` that a lookup found nothing, for at most ``most`` lookups.

    A lookup is named by texts that a stranger may have chosen; it is kept as a keyed hash of them.
    """

    def __init__(self, *, seconds: float, most: int = 1024) -> None:
        self._seconds = seconds
        self._hash = KeyedHash()
        self._until = BoundedCache[float](most)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, *lookup: str | None, now: float) -> None:
        """Remember that this lookup has found nothing."""
        self._until.put(self._hash(*lookup), now + self._seconds)

    def has(self, *lookup: str | None, now: float) -> bool:
        """Whether this lookup found nothing a moment ago."""
        return self.remaining(*lookup, now=now) > 0

    def remaining(self, *lookup: str | None, now: float) -> float:
        """For how many more seconds it is remembered that this lookup found nothing; 0 if it is not."""
        until = self._until.get(self._hash(*lookup))
        return 0.0 if until is None else max(0.0, until - now)
