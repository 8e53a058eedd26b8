"""The latency of a PUBLIC route while passwords are hashed: 8, 100 and 1,000 logins in flight, each a bcrypt hash.

The server, the probe and the clients run in separate processes and use sockets. The probe therefore measures what the
hashes leave of the event loop. Each measurement has its own server, because a hash that a thread has begun continues
after its client has disconnected.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

import bcrypt

from benchmarks.clients import Clients
from benchmarks.login_apps import APPS, LONG_QUEUE, raise_file_limit
from benchmarks.material import PASSWORD
from benchmarks.processes import program, server_process

#: Probes per second. They take a twentieth of what one processor can do, so that they do not delay each other.
RATE = 250
#: Seconds for the probe to start, and for the server to answer a first time. They are not measured.
STARTUP = 0.8
#: Shares of the measured time: first there are no logins, then the clients arrive.
IDLE, ARRIVING = 0.25, 0.2
GOAL = 4.0


@dataclass(slots=True)
class Latencies:
    """Milliseconds of ``/health`` before the logins, while they arrive, and while they wait; statuses of the logins."""

    idle: list[float] = field(default_factory=list)
    arriving: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


def login_latency(in_flight: Sequence[int], *, seconds: float, cost: int) -> str:
    """Measure each app with these numbers of concurrent logins, for this long each, and return the table."""
    raise_file_limit()
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()
    results: dict[str, dict[int, Latencies]] = {name: {} for name in APPS}
    # The apps take turns: if the machine gets slower, all of them are affected.
    for size in in_flight:
        for name in APPS:
            if name != LONG_QUEUE or size == max(in_flight):
                results[name][size] = latencies(name, size, stored, seconds)
    return table(results, cost)


def latencies(name: str, size: int, stored: str, seconds: float) -> Latencies:
    """Measure one app with this number of concurrent logins."""
    with server_process("benchmarks.login_apps", name, stored) as (_, port):
        start = time.monotonic() + STARTUP
        first_arrival = start + seconds * IDLE
        all_arrived, end = first_arrival + seconds * ARRIVING, start + seconds
        with program("benchmarks.health_probe", str(port), str(end), str(RATE)) as probe:
            time.sleep(max(0.0, first_arrival - time.monotonic()))
            clients = Clients(port, size)
            clients.run(arriving=seconds * ARRIVING, until=end)
            output, _ = probe.communicate()
    if probe.returncode:
        raise SystemExit(f"{name}: the probe failed")
    result = Latencies(statuses=clients.statuses)
    for due, took in json.loads(output):
        if due >= start:
            waiting_or_arriving = result.arriving if due < all_arrived else result.waiting
            phase = result.idle if due < first_arrival else waiting_or_arriving
            phase.append(took * 1000)
    return result


def table(results: dict[str, dict[int, Latencies]], cost: int) -> str:
    """Milliseconds and statuses by app and number of logins. A ratio is to the p99 without any logins."""
    width = max(map(len, results))
    # The idle times of all measurements together: between apps they differ by microseconds, which is less than the
    # noise of the machine within one measurement.
    idle = [took for by_size in results.values() for result in by_size.values() for took in result.idle]
    title = f"GET /health beside bcrypt-{cost} logins"
    rows = [
        f"{title:{width + 10}}{'arriving':>10}{'waiting':>12}{'overall':>24}{'logins by status':>24}",
        _row(
            width, "milliseconds", "logins", "p99", "p99", "to idle", "p99", "to idle", "longest", "200", "401", "503"
        ),
        _row(width, "idle", "0", "", "", "", f"{p99(idle):.1f}", "", f"{max(idle):.1f}"),
    ]
    for name, by_size in results.items():
        for size, result in by_size.items():
            overall = [*result.arriving, *result.waiting]
            figures = [p99(result.arriving), p99(result.waiting), p99(result.waiting) / p99(idle)]
            figures += [p99(overall), p99(overall) / p99(idle), max(overall)]
            statuses = (f"{result.statuses[status]}" for status in (200, 401, 503))
            rows.append(_row(width, name, f"{size:,}", *(f"{figure:.1f}" for figure in figures), *statuses))
    rows.append(f"The goal is at most {GOAL:g} times the idle p99, however many logins are waiting.")
    return "\n".join(rows)


def _row(width: int, name: str, logins: str, *cells: str) -> str:
    return (f"{name:{width}}{logins:>8}  " + "".join(f"{cell:>8}" for cell in cells)).rstrip()


def p99(figures: Sequence[float]) -> float:
    """The 99th percentile."""
    return quantiles(figures, n=100, method="inclusive")[-1]
