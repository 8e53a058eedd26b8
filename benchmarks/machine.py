"""What machine this is, and how busy it was with other things while something was measured."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

from benchmarks.measure import spread

#: Up to these shares, a measurement counts as one on a quiet machine.
QUIET_OTHERS, QUIET_SPREAD = 0.05, 0.10


def processor() -> str:
    """The name of the processor, and how many this process may use."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{model[1] if model else platform.machine()}, {count} {'processor' if count == 1 else 'processors'}"


def describe() -> str:
    """The date, the versions and the machine, without its name."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    system = f"{platform.system()} on {processor()}"
    return f"{date}, CPython {platform.python_version()}, {backend.openssl_version_text()}, {system}"


@dataclass(frozen=True, slots=True)
class Busy:
    """Seconds of processor time: of the whole machine without idling, of this process and its children, and in all."""

    all_work: float
    own_work: float
    available: float

    @classmethod
    def now(cls) -> Busy | None:
        """The times since the machine started. None where it does not tell."""
        try:
            line = Path("/proc/stat").read_text("utf-8").splitlines()[0]
        except OSError:
            return None
        ticks = [int(part) for part in line.split()[1:9]]
        seconds = [tick / os.sysconf("SC_CLK_TCK") for tick in ticks]
        # user nice system idle iowait irq softirq steal
        idle = seconds[3] + seconds[4]
        own = os.times()
        return cls(sum(seconds) - idle, own.user + own.system + own.children_user + own.children_system, sum(seconds))


@dataclass(frozen=True, slots=True)
class BusyReport:
    """Whether a machine was quiet enough for figures that are published, and a sentence about it."""

    is_quiet: bool
    text: str


def busy_report(before: Busy | None, after: Busy | None, floor: Sequence[float] = ()) -> BusyReport:
    """How busy other processes kept the machine between two moments, and how much the bare route varied."""
    parts, quiet = [f"load average {os.getloadavg()[0]:.1f}"], True
    if before is not None and after is not None and after.available > before.available:
        others = (after.all_work - before.all_work) - (after.own_work - before.own_work)
        share = max(others / (after.available - before.available), 0.0)
        parts.append(f"other processes used {share:.0%} of the processors")
        quiet &= share <= QUIET_OTHERS
    if len(floor) > 1:
        quartiles = spread(floor)
        varied = (quartiles.high - quartiles.low) / quartiles.median
        parts.append(f"the middle half of the bare route's times lies within {varied:.0%} of their median")
        quiet &= varied <= QUIET_SPREAD
    verdict = "The machine was quiet" if quiet else "The machine was BUSY, so the figures below are not for publication"
    return BusyReport(quiet, f"{verdict}: {', '.join(parts)}.")
