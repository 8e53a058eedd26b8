"""Bounded caches, and a keyed hash for what a stranger may have chosen: names, passwords and tokens."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class KeyedHash:
    """Keyed BLAKE2b of several texts, in 32 bytes (RFC 7693 section 2.9).

    The key is random, and only this object has it, unless it is given one of 32 bytes. Kept in place of a name, a
    password or a token: two can be compared, but without the key none can be read or guessed from it.
    """

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes | None = None) -> None:
        # HMAC costs five times as much, so it is used only where the platform forbids BLAKE2, as some do for FIPS.
        key = secrets.token_bytes(32) if key is None else key
        self._keyed: hashlib.blake2b | hmac.HMAC
        try:
            self._keyed = hashlib.blake2b(key=key, digest_size=32)
        except ValueError:
            self._keyed = hmac.new(key, digestmod="sha256")

    def __call__(self, *texts: str | None) -> bytes:
        # The repr of a tuple is unambiguous, and it escapes what UTF-8 cannot encode.
        return self.of(repr(texts).encode())

    def of(self, data: bytes) -> bytes:
        """The hash of these bytes, in a fraction of the time. The caller sees to it that they are unambiguous."""
        keyed = self._keyed.copy()  # of what the key makes, so that the key is hashed only once
        keyed.update(data)
        return keyed.digest()


class Dropped(Generic[V]):
    """Dictionaries that nobody needs any more, to be freed little by little.

    To free one of 100,000 values takes some milliseconds, in which no other thread of the interpreter runs.
    """

    __slots__ = ("dictionaries",)

    def __init__(self) -> None:
        self.dictionaries: list[dict[bytes, V]] = []

    def add(self, dictionary: dict[bytes, V]) -> None:
        """Take over a dictionary, which nobody else may use from now on."""
        self.dictionaries.append(dictionary)

    def free(self, number: int, *, size: Callable[[V], int] | None = None, least_bytes: int = 0) -> None:
        """Free so many values; with ``size``, more of them until they had ``least_bytes`` together."""
        freed = freed_bytes = 0
        dictionaries = self.dictionaries
        while dictionaries and (freed < number or freed_bytes < least_bytes):
            try:
                _, value = dictionaries[-1].popitem()
            except (KeyError, IndexError):  # it is empty, or another thread has just removed the last one
                del dictionaries[-1:]
            else:
                freed += 1
                freed_bytes += 0 if size is None else size(value)


class BoundedCache(Generic[V]):
    """At most ``most`` values by keys of bytes. The half that was written last is always kept.

    With ``most_bytes``, the sizes of all values together are bounded too. ``size`` is the size of one value in bytes; a
    value of more than half of ``most_bytes`` is not kept.

    It has two generations instead of an order, which takes half the memory of an ``OrderedDict``. A generation that is
    dropped is freed little by little, two values with each one that is stored. What is not freed yet counts towards
    both bounds.
    """

    __slots__ = ("_bytes", "_dropped", "_half", "_half_bytes", "_old", "_size", "_young")

    def __init__(self, most: int, *, most_bytes: float = math.inf, size: Callable[[V], int] | None = None) -> None:
        self._half, self._half_bytes = most // 2, most_bytes / 2
        self._size = size
        self._young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}
        #: The bytes of the young generation.
        self._bytes = 0
        self._dropped = Dropped[V]()

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> V | None:
        """The value of this key; None if there is none."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def is_young(self, key: bytes) -> bool:
        """Whether the key is in the half that was written last, so that writing its value again changes nothing."""
        return key in self._young

    def put(self, key: bytes, value: V) -> None:
        """Store the value. When the young generation is full, the old one is dropped."""
        # As much as is added is freed, or more, so that what is kept and what is not freed yet stays within the bounds.
        if self._size is None:
            self._old.pop(key, None)
            if self._dropped.dictionaries:
                self._dropped.free(2)
        else:
            self.discard(key)
            size = self._size(value)
            if size > self._half_bytes:
                return
            if self._bytes + size > self._half_bytes:
                self._turn()
            self._bytes += size
            self._dropped.free(2, size=self._size, least_bytes=size)
        young = self._young
        young[key] = value
        if len(young) >= self._half:
            self._turn()

    def _turn(self) -> None:
        """Begin a new generation. The one before the last is dropped."""
        self._dropped.add(self._old)
        self._old, self._young, self._bytes = self._young, {}, 0

    def discard(self, key: bytes) -> None:
        """Remove the key, if it is there."""
        value = self._young.pop(key, None)
        if value is not None and self._size is not None:
            self._bytes -= self._size(value)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Remove all keys."""
        self._dropped.add(self._young)
        self._dropped.add(self._old)
        self._young, self._old, self._bytes = {}, {}, 0


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
