"""Keys that are used once, in the memory of one process, bounded: what is forgotten is never taken for new."""

from __future__ import annotations

from dataclasses import field
from typing import Generic, TypeVar

from authguard.caching import Dropped
from authguard.value_types import mutable

V = TypeVar("V")

# Keys are forgotten by generations: each holds one of so many parts of all keys, or of the life of a key.
_PARTS = 8


@mutable
class Generation(Generic[V]):
    """Keys that came at about the same time, each with its value."""

    began: float
    values: dict[bytes, V] = field(default_factory=dict)
    newest: float = 0.0
    last_expires: float = 0.0


class Generations(Generic[V]):
    """At most ``most`` keys with their values, until they expire, and the ``floor`` of what is remembered.

    A key that is not found among them may have been forgotten if it was made at or before the floor: then it is not
    new. The floor is never lowered, even if the clock is set back. It is None until the owner has set it.

    The owner holds a lock around each call.
    """

    __slots__ = ("_dropped", "_kept", "_most", "floor", "young_first")

    def __init__(self, most: int) -> None:
        self._most = most
        self.floor: float | None = None
        #: The youngest first: nearly all keys are found there.
        self.young_first: list[Generation[V]] = []
        self._kept = 0
        self._dropped = Dropped[V]()

    def __len__(self) -> int:
        """How many keys are kept."""
        return self._kept

    def add(self, key: bytes, value: V, *, made_at: float, expires_at: float, now: float) -> None:
        """Keep a new key. Expired generations are dropped, and the oldest one if there are too many keys."""
        youngest = self._youngest(now, (expires_at - made_at) / _PARTS)
        youngest.values[key] = value
        youngest.newest = max(youngest.newest, made_at)
        youngest.last_expires = max(youngest.last_expires, expires_at)
        self._kept += 1
        # One key comes and two go, so that those kept and those not freed yet are never more than ``most``.
        self._dropped.free(2)

    def _youngest(self, now: float, span: float) -> Generation[V]:
        """The generation for new keys, begun anew after ``span`` seconds. Drops the oldest generations."""
        generations = self.young_first
        youngest = generations[0] if generations else None
        if youngest is None or len(youngest.values) >= self._most // _PARTS or now - youngest.began >= span:
            youngest = Generation[V](now)
            generations.insert(0, youngest)
        while generations[-1] is not youngest and (
            generations[-1].last_expires <= now or len(generations) > 2 * _PARTS or self._kept >= self._most
        ):
            oldest = generations.pop()
            self._kept -= len(oldest.values)
            self._dropped.add(oldest.values)
            self.floor = oldest.newest if self.floor is None else max(self.floor, oldest.newest)
        return youngest
