"""What authguard costs, beside other libraries: time, latency and memory, for a quiet machine.

make bench                                  all parts: about twelve minutes
make bench ARGS="requests"                  one request on each path, and with other libraries: a minute and a half
make bench ARGS="requests --rounds 30"      the same, faster and less precise
make bench ARGS="burst"                     a thousand logins in one turn of the event loop: forty seconds
make bench ARGS="imports"                   what importing authguard costs: twenty seconds
make bench ARGS="server"                    the processor time of a server, with wrk: two minutes
make bench ARGS="growth"                    ten thousand rules, a million nonces: a minute and a half
make bench ARGS="digests"                   Digest beside other libraries: fifteen seconds
make bench ARGS="sql"                       an API key of a database beside the look-up alone: fifteen seconds
make bench ARGS="logins"                    the latency of /health beside 8, 100 and 1,000 logins: a minute
make bench ARGS="outages"                   the latency of /health beside failing key servers: half a minute
make bench ARGS="throttle"                  the memory of a million invented account names: ten seconds
make bench ARGS="shared"                    what Redis adds to a request, and a million rows there: three minutes
make bench ARGS="capacity"                  a simulated cluster with 100,000 requests a second: half a minute
make bench ARGS="capacity --measure"        the same, with the costs of this machine: three minutes
make bench ARGS="--plots"                   write the drawings in docs/ too
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.capacity import capacity
from benchmarks.digest_cost import digest_cost
from benchmarks.growth import growth
from benchmarks.import_cost import import_cost
from benchmarks.key_server import BEHAVIOURS
from benchmarks.login_apps import USERS
from benchmarks.login_burst import login_burst
from benchmarks.login_latency import login_latency
from benchmarks.machine import Busy, busy_report, describe
from benchmarks.outage_latency import outage_latency
from benchmarks.processes import ROOT
from benchmarks.request_cost import request_cost
from benchmarks.results import Goal, PartResult, goal_table
from benchmarks.server_cpu import server_cpu
from benchmarks.shared import shared
from benchmarks.sql_cost import sql_cost
from benchmarks.throttle_memory import throttle_memory

PARTS: Mapping[str, Callable[[argparse.Namespace], PartResult]] = {
    "requests": lambda options: asyncio.run(request_cost(rounds=max(options.rounds, 2), calls=max(options.calls, 1))),
    "burst": lambda options: login_burst(rounds=options.bursts),
    "imports": lambda options: import_cost(rounds=options.imports),
    "server": lambda options: server_cpu(rounds=options.loads, seconds=options.load),
    "growth": lambda options: growth(rounds=max(options.rounds // 4, 2), most=options.entries),
    "digests": lambda options: digest_cost(rounds=max(options.rounds, 2), calls=max(options.calls, 1)),
    "sql": lambda options: sql_cost(rounds=max(options.rounds // 4, 2), calls=max(options.calls, 1)),
    "logins": lambda options: PartResult(
        login_latency(options.in_flight, seconds=options.seconds, cost=options.bcrypt)
    ),
    "outages": lambda options: PartResult(outage_latency(options.key_servers, seconds=options.outage)),
    "throttle": lambda options: PartResult(throttle_memory(options.entries)),
    "shared": lambda options: shared(
        rounds=max(options.rounds // 4, 2), calls=max(options.calls, 1), rows=options.entries
    ),
    "capacity": lambda options: capacity(measure=options.measure, rounds=options.loads, seconds=options.load),
}


def parser_of_options() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what authguard costs.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--plots", nargs="?", const=ROOT / "docs", type=Path, help="write drawings (default: docs)")
    group = parser.add_argument_group("requests, growth, digests, sql and shared")
    group.add_argument("--rounds", type=int, default=400, help="number of rounds, at least 2 (default %(default)s)")
    group.add_argument("--calls", type=int, default=15, help="timed calls per row and round (default %(default)s)")
    group = parser.add_argument_group("burst, imports, server and capacity")
    group.add_argument("--bursts", type=int, default=9, help="rounds of bursts (default %(default)s)")
    group.add_argument("--imports", type=int, default=15, help="rounds of imports (default %(default)s)")
    group.add_argument("--loads", type=int, default=3, help="rounds of loads on a server (default %(default)s)")
    group.add_argument("--load", type=int, default=3, help="duration of each load in seconds (default %(default)s)")
    group = parser.add_argument_group("logins")
    group.add_argument(
        "--in-flight",
        type=int,
        nargs="+",
        default=[8, 100, 1000],
        help="numbers of concurrent logins (default 8 100 1000)",
    )
    group.add_argument("--seconds", type=float, default=6.0, help="duration of each measurement (default %(default)s)")
    group.add_argument("--bcrypt", type=int, default=12, help="cost of the bcrypt hashes (default %(default)s)")
    group = parser.add_argument_group("outages")
    group.add_argument(
        "--key-servers", nargs="+", choices=BEHAVIOURS, default=list(BEHAVIOURS), help="kinds of outages (default: all)"
    )
    group.add_argument(
        "--outage", type=float, default=2.5, help="duration of an outage in seconds (default %(default)s)"
    )
    group = parser.add_argument_group("capacity")
    group.add_argument("--measure", action="store_true", help="measure the costs of this machine first, and write them")
    group = parser.add_argument_group("throttle, growth and shared")
    group.add_argument(
        "--entries", type=int, default=1_000_000, help="number of names, and of what grows (default %(default)s)"
    )
    return parser


def write_plots(folder: Path, result: PartResult, *, is_quiet: bool) -> None:
    """Write the drawings of a part. Those of a busy machine say so."""
    for name, drawing in result.plots.items():
        text = drawing if is_quiet else drawing.replace(describe(), f"{describe()}, busy with other work")
        (folder / name).write_text(text, "utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that are named on the command line, and print their tables."""
    parser = parser_of_options()
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))} (choose from {', '.join(PARTS)})")
    if not all(1 <= size <= USERS for size in options.in_flight):
        parser.error(f"--in-flight: each number must be from 1 to {USERS}")
    print(describe(), flush=True)
    goals: list[Goal] = []
    for part in options.parts or PARTS:
        before = Busy.now()
        result = PARTS[part](options)
        busy = busy_report(before, Busy.now(), result.floor)
        print(f"\n== {part}\n{busy.text}\n\n{result.text}", flush=True)
        goals += result.goals
        if options.plots is not None:
            write_plots(options.plots, result, is_quiet=busy.is_quiet)
    if goals:
        print(f"\n== goals\n{goal_table(goals)}", flush=True)


if __name__ == "__main__":
    main()
