"""Which keys were asked for in vain, for a moment: the same stale token need not be looked up twice."""

from __future__ import annotations

import hashlib
import secrets


class Misses:
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
