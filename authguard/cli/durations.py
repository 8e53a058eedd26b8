"""Lengths of time as the commands read and write them: ``90d``."""

from __future__ import annotations

import argparse
import re

#: A century, in days.
_MOST = 36_500 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,10})([smhd])")


def duration(argument: str) -> int:
    """The seconds of an argument such as ``90d``, above 0. Raises ``argparse.ArgumentTypeError``."""
    match = _DURATION.fullmatch(argument)
    seconds = 0 if match is None else int(match[1]) * _UNITS[match[2]]
    if not 0 < seconds <= _MOST:
        raise argparse.ArgumentTypeError(
            "it is not a time; write a whole number above 0 with a unit, such as 90s, 15m, 8h or 90d"
        )
    return seconds


def shown_duration(seconds: float) -> str:
    """The largest whole unit that fits: ``3d``, ``5h``."""
    unit = next((unit for unit in "dhm" if seconds >= _UNITS[unit]), "s")
    return f"{int(seconds // _UNITS[unit])}{unit}"
