"""A mapping that forgets what was not touched for long, so that no stranger can fill the memory."""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
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
