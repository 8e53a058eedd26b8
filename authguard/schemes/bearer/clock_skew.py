"""How far the clock of an issuer is from ours, as far as its tokens tell."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress

from authguard.model import Clock, Moment

_log = logging.getLogger("authguard")

#: For so many seconds ages are put together, and at most one warning is given.
WINDOW = 3600.0
#: Of fewer tokens a window says nothing about a clock that may be behind: the few may have been old.
ENOUGH = 20

# A median to within one of these is as good as one to the second, and costs as many numbers as stand here.
_EDGES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)
# No honest clock is further off: what is beyond is no stamp, and the claims are refused for it.
_MIN_STAMP, _MAX_STAMP = -(10**12), 10**12


class _Window:
    """The ages of the tokens that came within one window."""

    __slots__ = ("ages", "late", "least", "told", "tolerated")

    def __init__(self) -> None:
        self.ages = [0] * (len(_EDGES) + 1)
        self.least = float("inf")
        #: How many tokens held only thanks to the leeway, and by how much one was over at the most.
        self.tolerated = 0
        self.late = 0.0
        self.told = False


class ClockSkew:
    """The distance of ``iat`` to our clock, over the tokens of one issuer whose signature was right.

    A token is hardly ever younger than nothing, so that one from our future shows an issuer that is *ahead*, and by how
    much. An issuer that is *behind* looks like one whose tokens are used late: of it is only known that it is behind by
    no more than its youngest token is old. It is told where that is much, and where tokens were taken after their end.

    Two windows are kept, the one that runs and the one before; bounded, whatever comes.
    """

    __slots__ = ("_before", "_clock", "_name", "_over", "_window")

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._before, self._window = _Window(), _Window()
        self._over = clock() + WINDOW

    def note(self, iat: object, moment: Moment) -> None:
        """One token, whether it was taken or not. On the path of every request."""
        if (type(iat) is not int and type(iat) is not float) or not _MIN_STAMP < iat < _MAX_STAMP:
            return
        age = moment.now - iat
        if self._clock() >= self._over:
            self._turn()
        window = self._window
        window.ages[bisect_right(_EDGES, age)] += 1
        if age < window.least:
            window.least = age
            if age < 0 and not window.told and -age >= moment.leeway / 2:
                window.told = True
                facts = {"issuer": self._name, "ahead": -age, "leeway": moment.leeway}
                _warn("issuer %s is about %.0f s ahead; leeway is %g s", facts)

    def tolerate(self, stamps: Mapping[str, float], moment: Moment) -> None:
        """A token that holds only thanks to the leeway, and by how many seconds which of its stamps."""
        window = self._window
        window.tolerated += 1
        late = window.late = max(window.late, stamps.get("exp", 0.0))
        least, tokens = min(window.least, self._before.least), sum(window.ages) + sum(self._before.ages)
        if not window.told and tokens >= ENOUGH and min(late, least) >= moment.leeway / 2:
            window.told = True
            facts = {"issuer": self._name, "behind": least, "late": late, "leeway": moment.leeway}
            _warn(
                "issuer %s may be up to %.0f s behind: tokens are in use %.0f s after their end; leeway is %g s", facts
            )

    def health(self) -> Mapping[str, object]:
        """Of this window and the one before, in seconds.

        ``smallest`` is the least age that a token had, negative where it came from our future; half of the tokens were
        younger than ``typical``, an edge of a coarse histogram that ends at a day.
        """
        if self._clock() >= self._over:
            self._turn()
        windows = (self._before, self._window)
        ages = [sum(pair) for pair in zip(*(window.ages for window in windows), strict=True)]
        tokens = sum(ages)
        if not tokens:
            return {"tokens": 0, "smallest": None, "typical": None, "tolerated": 0}
        return {
            "tokens": tokens,
            "smallest": round(min(window.least for window in windows), 3),
            "typical": _median(ages),
            "tolerated": sum(window.tolerated for window in windows),
        }

    def _turn(self) -> None:
        now = self._clock()
        # After a long rest what was before is of another day.
        self._before = self._window if now < self._over + WINDOW else _Window()
        self._window = _Window()
        self._over = now + WINDOW


def _median(ages: list[int]) -> float:
    below, half = 0, sum(ages) / 2
    for edge, count in zip(_EDGES, ages, strict=False):
        below += count
        if below >= half:
            return edge
    return _EDGES[-1]


def _warn(told: str, facts: Mapping[str, object]) -> None:
    extra = {f"authguard.{key}": value for key, value in {"event": "drift", **facts}.items()}
    with suppress(Exception):  # a filter or a handler of the app's own
        _log.warning(told, *facts.values(), extra=extra)
