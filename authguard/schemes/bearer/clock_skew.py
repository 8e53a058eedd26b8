"""How far the clock of an issuer is from ours, as far as the times in its tokens show."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress

from authguard.model import Clock, Moment

_log = logging.getLogger("authguard")

#: The length of a window in seconds. At most one warning is logged in each.
WINDOW = 3600.0
#: How many tokens it takes before a clock is reported as behind: a few tokens may all be old.
MIN_TOKENS = 20

# The edges of a histogram of ages in seconds. A coarse median is good enough, and costs only one number an edge.
_EDGES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)
# A time beyond these is not a time: the claim rules refuse the token.
_MIN_TIME, _MAX_TIME = -(10**12), 10**12


class _Window:
    """The ages of the tokens of one window."""

    __slots__ = ("ages", "late", "leeway_used", "min_age", "warned")

    def __init__(self) -> None:
        self.ages = [0] * (len(_EDGES) + 1)
        self.min_age = float("inf")
        #: How many tokens were accepted only by the leeway.
        self.leeway_used = 0
        #: The longest time in seconds by which an accepted token had expired.
        self.late = 0.0
        self.warned = False


class ClockSkew:
    """Watches the ages of one issuer's tokens, from ``iat`` to our clock. Their signatures were right.

    A token from our future shows that the issuer's clock is *ahead*, and by how much. A clock that is *behind* makes
    tokens look older than they are, and cannot be told from tokens that are used late. It is behind by no more than the
    age of the youngest token: a warning is logged if that is much, and tokens were accepted after they expired.

    Two windows are kept, the current and the previous one, so that the memory is bounded.
    """

    __slots__ = ("_clock", "_current", "_ends_at", "_previous", "issuer")

    def __init__(self, issuer: str, clock: Clock) -> None:
        #: How the issuer is called in the log.
        self.issuer = issuer
        self._clock = clock
        self._previous, self._current = _Window(), _Window()
        self._ends_at = clock() + WINDOW

    def observe(self, iat: object, moment: Moment) -> None:
        """Add the age of a token, whether it was accepted or not. Called for every request."""
        if (type(iat) is not int and type(iat) is not float) or not _MIN_TIME < iat < _MAX_TIME:
            return
        age = moment.now - iat
        if self._clock() >= self._ends_at:
            self._rotate()
        window = self._current
        window.ages[bisect_right(_EDGES, age)] += 1
        if age < window.min_age:
            window.min_age = age
            if age < 0 and not window.warned and -age >= moment.leeway / 2:
                window.warned = True
                facts = {"issuer": self.issuer, "ahead": -age, "leeway": moment.leeway}
                _warn("issuer %s is about %.0f s ahead; leeway is %g s", facts)

    def observe_leeway_used(self, seconds: Mapping[str, float], moment: Moment) -> None:
        """Add a token that was accepted only by the leeway: by how many seconds, for each of its times."""
        window = self._current
        window.leeway_used += 1
        late = window.late = max(window.late, seconds.get("exp", 0.0))
        min_age, tokens = min(window.min_age, self._previous.min_age), sum(window.ages) + sum(self._previous.ages)
        if not window.warned and tokens >= MIN_TOKENS and min(late, min_age) >= moment.leeway / 2:
            window.warned = True
            facts = {"issuer": self.issuer, "behind": min_age, "late": late, "leeway": moment.leeway}
            _warn(
                "issuer %s may be up to %.0f s behind: tokens are used %.0f s after they expired; leeway is %g s", facts
            )

    def health(self) -> Mapping[str, object]:
        """The figures of the current and the previous window, in seconds.

        ``smallest``: the least age of a token, negative if it came from our future. ``typical``: half of the tokens
        were younger; this is an edge of a coarse histogram that ends at a day. ``tolerated``: how many tokens were
        accepted only by the leeway.
        """
        if self._clock() >= self._ends_at:
            self._rotate()
        windows = (self._previous, self._current)
        ages = [sum(pair) for pair in zip(*(window.ages for window in windows), strict=True)]
        tokens = sum(ages)
        if not tokens:
            return {"tokens": 0, "smallest": None, "typical": None, "tolerated": 0}
        return {
            "tokens": tokens,
            "smallest": round(min(window.min_age for window in windows), 3),
            "typical": _median(ages),
            "tolerated": sum(window.leeway_used for window in windows),
        }

    def _rotate(self) -> None:
        now = self._clock()
        # After a long time without tokens, the window that ended is too old to be the previous one.
        self._previous = self._current if now < self._ends_at + WINDOW else _Window()
        self._current = _Window()
        self._ends_at = now + WINDOW


def _median(ages: list[int]) -> float:
    below, half = 0, sum(ages) / 2
    for edge, count in zip(_EDGES, ages, strict=False):
        below += count
        if below >= half:
            return edge
    return _EDGES[-1]


def _warn(message: str, facts: Mapping[str, object]) -> None:
    # The fields of the warnings about patterns. Signatures were verified, so no stranger causes this one.
    fields = {"event": "drift", "pattern": "drift", "by_stranger": False, **facts}
    extra = {f"authguard.{key}": value for key, value in fields.items()}
    with suppress(Exception):  # a filter or a handler of the app may raise, which must not fail the request
        _log.warning(message, *facts.values(), extra=extra)
