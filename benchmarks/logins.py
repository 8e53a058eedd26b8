"""What a PUBLIC route waits while passwords are hashed: 8, 100 and 1,000 logins in flight, each a bcrypt hash.

Over sockets, with a server, a prober and a crowd of logins in a process each: what is measured is what the hashes leave
to the event loop, and to who asks it. A server serves one crowd only, for hashes that a thread has begun go on after
their clients have gone.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

import bcrypt

from benchmarks.crowd import PASSWORD, Crowd
from benchmarks.programs import program, serving
from benchmarks.served import APPS, LONG_QUEUE, room_for_connections

#: Probes in a second. They take a twentieth of what a processor can do here, so that they do not wait for each other.
RATE = 250
#: What the prober has to start, and the server to answer a first time, before anything counts.
STARTING = 0.8
#: Of the seconds of a crowd: so many pass without it at first, and in so many it comes.
IDLE, COMING = 0.25, 0.2
GOAL = 4.0


@dataclass(slots=True)
class Waits:
    """Milliseconds of ``/health``: before the logins, as they come, and as they wait; and what was answered to them."""

    idle: list[float] = field(default_factory=list)
    coming: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


def logins(in_flight: Sequence[int], *, seconds: float, cost: int) -> str:
    """The table, of crowds of these sizes, each for so many seconds."""
    room_for_connections()
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()
    found: dict[str, dict[int, Waits]] = {name: {} for name in APPS}
    # By turns: where the machine grows slower, all of them grow slower.
    for size in in_flight:
        for name in APPS:
            if name != LONG_QUEUE or size == max(in_flight):
                found[name][size] = waits(name, size, stored, seconds)
    return table(found, cost)


def waits(name: str, size: int, stored: str, seconds: float) -> Waits:
    """One server, and one crowd."""
    with serving("benchmarks.served", name, stored) as (_, port):
        begin = time.monotonic() + STARTING
        come = begin + seconds * IDLE
        wait, until = come + seconds * COMING, come + seconds
        with program("benchmarks.prober", str(port), str(until), str(RATE)) as prober:
            time.sleep(max(0.0, come - time.monotonic()))
            crowd = Crowd(port, size)
            crowd.run(arriving=seconds * COMING, until=until)
            printed, _ = prober.communicate()
    if prober.returncode:
        raise SystemExit(f"{name}: the prober has failed")
    found = Waits(statuses=crowd.statuses)
    for at, took in json.loads(printed):
        if at >= begin:
            phase = found.idle if at < come else found.coming if at < wait else found.waiting
            phase.append(took * 1000)
    return found


def table(found: dict[str, dict[int, Waits]], cost: int) -> str:
    """Milliseconds and answers by app and by how many logins; a ratio is to the p99 while there are none."""
    width = max(map(len, found))
    # Of all turns and apps: on the way to this route they differ by microseconds, and what one turn sees of the
    # machine's moods is more than that.
    idle = [took for by_size in found.values() for one in by_size.values() for took in one.idle]
    title = f"GET /health beside bcrypt-{cost} logins"
    rows = [
        f"{title:{width + 10}}{'coming':>10}{'waiting':>12}{'throughout':>24}{'logins answered':>24}",
        _row(
            width, "milliseconds", "logins", "p99", "p99", "to idle", "p99", "to idle", "longest", "200", "401", "503"
        ),
        _row(width, "idle", "0", "", "", "", f"{p99(idle):.1f}", "", f"{max(idle):.1f}"),
    ]
    for name, by_size in found.items():
        for size, one in by_size.items():
            throughout = [*one.coming, *one.waiting]
            told = [p99(one.coming), p99(one.waiting), p99(one.waiting) / p99(idle)]
            told += [p99(throughout), p99(throughout) / p99(idle), max(throughout)]
            answered = (f"{one.statuses[status]}" for status in (200, 401, 503))
            rows.append(_row(width, name, f"{size:,}", *(f"{figure:.1f}" for figure in told), *answered))
    rows.append(f"The goal is {GOAL:g} times the idle p99 at most, however many wait.")
    return "\n".join(rows)


def _row(width: int, name: str, logins: str, *cells: str) -> str:
    return (f"{name:{width}}{logins:>8}  " + "".join(f"{cell:>8}" for cell in cells)).rstrip()


def p99(figures: Sequence[float]) -> float:
    """All but one in a hundred are at most this."""
    return quantiles(figures, n=100, method="inclusive")[-1]
