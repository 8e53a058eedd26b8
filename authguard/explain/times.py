"""Times for a person: durations in words, and the times of a token in one line of text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

#: How ``now`` is written in a drawing, so that it stands out.
NOW = "NOW"

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """A duration of two units at most: ``4 s``, ``1 min 30 s``, ``2 h``. Below ten seconds with its fraction."""
    if abs(seconds) < 10:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"
    rest, words = round(abs(seconds)), []
    for size, unit in _UNITS:
        number, rest = divmod(rest, size)
        if number:
            words.append(f"{number} {unit}")
    if rest:
        words.append(f"{rest} s")
    return ("-" if seconds < 0 else "") + " ".join(words[:2])


def clock_time(seconds: float) -> str:
    """A time in UTC: ``2026-11-29 23:00:00Z``. A number that is no date stays a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OSError, OverflowError, ValueError):
        return str(seconds)


def time_line(times: Mapping[str, float], now: float, leeway: float = 0.0) -> str:
    """Times in their order, and how long each is after the one before: ``iat -- 1 h -- exp -- 4 s -- NOW``.

    ``times`` may have ``exp``, which the leeway moves to later, and ``iat`` and ``nbf``, which it moves to earlier.
    """
    marks = [(seconds, 1, name) for name, seconds in times.items()]
    marks.append((now, 2, NOW))
    begins = [seconds for name, seconds in times.items() if name in {"iat", "nbf"}]
    if leeway and begins and now < max(begins):
        marks.append((max(begins) - leeway, 0, "leeway begins"))
    if leeway and "exp" in times and now > times["exp"]:
        marks.append((times["exp"] + leeway, 0, "leeway ends"))
    marks.sort()
    line = marks[0][2]
    for (earlier, _, _), (later, _, name) in pairwise(marks):
        line += f" = {name}" if later == earlier else f" -- {duration(later - earlier)} -- {name}"
    return line
