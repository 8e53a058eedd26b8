"""A queue in which nobody can fill the place of others: queues inside it take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Generic, TypeVar

T = TypeVar("T")

_SIZE = attrgetter("size")


class FairQueue(Generic[T]):
    """Items in queues that take turns (round robin): of each queue in turn one item is taken.

    A path names the queue of an item, and may have several steps: with the paths ``(network, account)`` the networks
    take turns, and inside each network its accounts do. Items with equal paths are first in, first out. All paths of
    one ``FairQueue`` have the same length. It has no lock: the caller has one.
    """

    __slots__ = ("_items", "_longest_queue", "_queues", "size")

    def __init__(self) -> None:
        #: The number of items. To read it takes a fraction of the time of ``len``.
        self.size = 0
        #: The answer of ``_longest``. None if it must be found again.
        self._longest_queue: FairQueue[T] | None = None
        #: The items whose path ends here.
        self._items: deque[T] = deque()
        #: The other items by the first step of their path. The first queue is the next one to give an item.
        self._queues: dict[Hashable, FairQueue[T]] = {}

    def __len__(self) -> int:
        return self.size

    def push(self, path: Sequence[Hashable], item: T) -> None:
        """Put an item at the end of the queue of ``path``. A queue that was empty gets its turn after all others."""
        queue = self
        for step in path:
            queue.size += 1
            queue._longest_queue = None
            inner = queue._queues.get(step)
            if inner is None:
                inner = queue._queues[step] = FairQueue()
            queue = inner
        queue.size += 1
        queue._items.append(item)  # noqa: SLF001 - of this class

    def pop(self) -> T:
        """Take the next item. Its queue gets its next turn after all others. There must be an item."""
        if not self._items:
            return self._pop_from(next(iter(self._queues)))
        self.size -= 1
        return self._items.popleft()

    def pop_allowed(self, allowed: Callable[[Hashable], bool]) -> T | None:
        """Take the next item of the queues whose first step is ``allowed``; None if there is none.

        A queue that is not allowed keeps its turn.
        """
        step = next((step for step in self._queues if allowed(step)), None)
        return None if step is None else self._pop_from(step)

    def _pop_from(self, step: Hashable) -> T:
        self.size -= 1
        self._longest_queue = None
        queue = self._queues.pop(step)
        item = queue.pop()
        if queue:
            self._queues[step] = queue
        return item

    def remove(self, path: Sequence[Hashable], item: T) -> None:
        """Take out this item, which must be in the queue of ``path``."""
        self.size -= 1
        if not path:
            self._items.remove(item)
            return
        self._longest_queue = None
        queue = self._queues[path[0]]
        queue.remove(path[1:], item)
        if not queue:
            del self._queues[path[0]]

    def ahead(self, path: Sequence[Hashable]) -> int:
        """How many items would be taken before a new one with this path, if no others came."""
        if not path:
            return self.size
        own = self._queues.get(path[0])
        if own is None:
            return len(self._queues)  # one item of each
        ahead = own.ahead(path[1:])
        # Its queue has its turn so many times before the item is taken, and each queue before it once more.
        turns, total = ahead + 1, ahead
        for queue in self._queues.values():
            if queue is own:
                turns = ahead
            else:
                total += min(queue.size, turns)
        return total

    def displaceable(self, path: Sequence[Hashable]) -> T | None:
        """The item that may be taken out to make room for a new one with this path; None if there is none.

        It is the last item of the longest queue, if that has at least two more than the queue of ``path``: afterwards
        it still has no fewer. So nobody with one item loses it, and two who fill the queue do not displace each other.
        """
        if not path:
            return None
        longest = self._longest()
        own = self._queues.get(path[0])
        if longest.size >= (2 if own is None else own.size + 2):
            return longest.last_of_longest()
        return None if own is None else own.displaceable(path[1:])

    def last_of_longest(self) -> T:
        """The last item of the longest queue. There must be an item."""
        return self._items[-1] if self._items else self._longest().last_of_longest()

    def _longest(self) -> FairQueue[T]:
        """The longest queue; of several, the one whose turn comes last.

        It is remembered until something changes: a full queue is asked again and again, and then nothing does.
        """
        if self._longest_queue is None:
            self._longest_queue = max(reversed(self._queues.values()), key=_SIZE)
        return self._longest_queue
