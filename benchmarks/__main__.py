"""What authguard costs: time per request, latency beside logins and failing key servers, and memory.

python -m benchmarks                        all five parts, under three minutes
python -m benchmarks requests               the time of one request: half a minute
python -m benchmarks requests --rounds 100  the same, faster and less precise
python -m benchmarks logins                 the latency of /health beside 8, 100 and 1,000 logins: a minute
python -m benchmarks outages                the latency of /health beside failing key servers: half a minute
python -m benchmarks digests                the time of a Digest request, and the memory of nonces: half a minute
python -m benchmarks throttle               the memory of a million invented account names: ten seconds
"""

from __future__ import annotations

import argparse
import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence

from benchmarks.digest_cost import digest_cost
from benchmarks.key_server import BEHAVIOURS
from benchmarks.login_apps import USERS
from benchmarks.login_latency import login_latency
from benchmarks.outage_latency import outage_latency
from benchmarks.request_cost import request_cost
from benchmarks.throttle_memory import throttle_memory

PARTS: Mapping[str, Callable[[argparse.Namespace], str]] = {
    "requests": lambda options: asyncio.run(
        request_cost(rounds=max(options.rounds, 2), calls=max(options.calls, 1)),
    ),
    "logins": lambda options: login_latency(options.in_flight, seconds=options.seconds, cost=options.bcrypt),
    "outages": lambda options: outage_latency(options.key_servers, seconds=options.outage),
    "digests": lambda options: digest_cost(
        rounds=max(options.rounds // 3, 2), calls=max(options.calls, 1), nonces=options.entries
    ),
    "throttle": lambda options: throttle_memory(options.entries),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that are named on the command line, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what authguard costs.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)} (default: all)")
    group = parser.add_argument_group("requests and digests")
    group.add_argument("--rounds", type=int, default=1500, help="number of rounds, at least 2 (default %(default)s)")
    group.add_argument("--calls", type=int, default=15, help="timed calls per row and round (default %(default)s)")
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
    group = parser.add_argument_group("throttle and digests")
    group.add_argument(
        "--entries", type=int, default=1_000_000, help="number of account names and of nonces (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))} (choose from {', '.join(PARTS)})")
    if not all(1 <= size <= USERS for size in options.in_flight):
        parser.error(f"--in-flight: each number must be from 1 to {USERS}")
    print(f"Python {platform.python_version()}", flush=True)
    for part in options.parts or PARTS:
        print(f"\n{PARTS[part](options)}", flush=True)


if __name__ == "__main__":
    main()
