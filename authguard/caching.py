"""Keyed hashes of names and passwords: what is kept of them can be compared, and not looked up."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Generic, TypeVar


class KeyedHash:
    """HMAC-SHA-256 of several texts under a key that nothing outlives the process with."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, *texts: str) -> bytes:
        # The repr of a tuple tells any two lists of texts apart, and writes out what UTF-8 cannot say.
        return hmac.digest(self._key, repr(texts).encode(), "sha256")


V = TypeVar("V")


class BoundedCache(Generic[V]):
    """Keeps at most ``most`` values by keys of octets, and the half of them that was written last for certain.

    In two generations rather than in an order: that takes half the memory of an ``OrderedDict``.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._young or key in self._old

    def __bool__(self) -> bool:
        return bool(self._young or self._old)

    def get(self, key: bytes) -> V | None:
        """What is kept under this key."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: bytes, value: V) -> None:
        """Keeps the value."""
        self._young[key] = value
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    def discard(self, key: bytes) -> None:
        """Forgets it."""
        self._young.pop(key, None)
        self._old.pop(key, None)


class NegativeCache:
    """At most ``most`` keys that are not there, each for ``seconds``.

    What a stranger wrote in a header is no key of a mapping of ours: a keyed hash of it is. In two generations, so that
    who sends many forgets the old ones, and costs nothing.
    """

    def __init__(self, *, seconds: float, most: int = 1024) -> None:
        self._seconds, self._half = seconds, most // 2
        self._key = secrets.token_bytes(32)
        self._young: dict[bytes, float] = {}
        self._old: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def note(self, kid: str | None, algorithm: str, now: float) -> None:
        """This key is not there."""
        self._young[self._named(kid, algorithm)] = now + self._seconds
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    def knows(self, kid: str | None, algorithm: str, now: float) -> bool:
        """Whether this key was not there a moment ago."""
        named = self._named(kid, algorithm)
        return now < max(self._young.get(named, now), self._old.get(named, now))

    def _named(self, kid: str | None, algorithm: str) -> bytes:
        # The repr of a tuple tells any two pairs apart, and writes out what UTF-8 cannot say.
        return hashlib.blake2b(repr((algorithm, kid)).encode(), digest_size=16, key=self._key).digest()
