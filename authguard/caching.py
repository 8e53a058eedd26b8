"""Caches that a stranger cannot fill, and keyed hashes for what a stranger chose."""

from __future__ import annotations

import hmac
import secrets
from typing import Generic, TypeVar

V = TypeVar("V")


class KeyedHash:
    """HMAC-SHA-256 of several texts, under a key that only this object has.

    What is kept of a name, a password or a token can then be compared, but neither read nor guessed from a dump.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, *texts: str | None) -> bytes:
        # The repr of a tuple differs for any two lists of texts, and it escapes what UTF-8 cannot encode.
        return hmac.digest(self._key, repr(texts).encode(), "sha256")


class BoundedCache(Generic[V]):
    """Keeps at most ``most`` values by keys of bytes; the half that was written last is certainly there.

    It keeps two generations instead of an order: that takes half the memory of an ``OrderedDict``.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> V | None:
        """The value of this key; None if there is none."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: bytes, value: V) -> None:
        """Keep the value."""
        self._young[key] = value
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    def discard(self, key: bytes) -> None:
        """Forget the key, if it is there."""
        self._young.pop(key, None)
        self._old.pop(key, None)


class NegativeCache:
    """Remembers for ``seconds`` that something was not found, for at most ``most`` questions.

    A question is a tuple of texts that a stranger may have chosen; it is kept as a keyed hash.
    """

    def __init__(self, *, seconds: float, most: int = 1024) -> None:
        self._seconds = seconds
        self._hash = KeyedHash()
        self._until = BoundedCache[float](most)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, *question: str | None, now: float) -> None:
        """Nothing was found."""
        self._until.put(self._hash(*question), now + self._seconds)

    def has(self, *question: str | None, now: float) -> bool:
        """Whether nothing was found a moment ago."""
        until = self._until.get(self._hash(*question))
        return until is not None and now < until
