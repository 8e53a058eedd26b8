"""What authguard costs: a request, what waits for hashes and for key servers, a digest, and the memory of names.

python -m benchmarks                     all five, under three minutes
python -m benchmarks costs               what a request costs: half a minute
python -m benchmarks costs --rounds 100  sooner, and rougher
python -m benchmarks logins              what /health waits beside 8, 100 and 1,000 logins: a minute
python -m benchmarks outages             what it waits beside key servers that misbehave: half a minute
python -m benchmarks digests             a Digest request beside its peers, the memory of nonces: half a minute
python -m benchmarks names               the memory of a million invented names: ten seconds
"""

from __future__ import annotations

import argparse
import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence

from benchmarks.costs import costs
from benchmarks.digests import digests
from benchmarks.keyserver import BEHAVIOURS
from benchmarks.logins import logins
from benchmarks.names import names
from benchmarks.outages import outages
from benchmarks.served import USERS

PARTS: Mapping[str, Callable[[argparse.Namespace], str]] = {
    "costs": lambda options: asyncio.run(costs(rounds=max(options.rounds, 2), calls=max(options.calls, 1))),
    "logins": lambda options: logins(options.in_flight, seconds=options.seconds, cost=options.bcrypt),
    "outages": lambda options: outages(options.key_servers, seconds=options.outage),
    "digests": lambda options: digests(
        rounds=max(options.rounds // 3, 2), calls=max(options.calls, 1), most=options.names
    ),
    "names": lambda options: names(options.names),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What authguard costs.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"out of {', '.join(PARTS)} (default: all)")
    about = parser.add_argument_group("costs")
    about.add_argument("--rounds", type=int, default=1500, help="how many, at least 2 (default %(default)s)")
    about.add_argument("--calls", type=int, default=15, help="timed calls of a row in a round (default %(default)s)")
    about = parser.add_argument_group("logins")
    about.add_argument("--in-flight", type=int, nargs="+", default=[8, 100, 1000], help="how many logins at a time")
    about.add_argument("--seconds", type=float, default=6.0, help="for how long, each time (default %(default)s)")
    about.add_argument("--bcrypt", type=int, default=12, help="the cost of their hashes (default %(default)s)")
    about = parser.add_argument_group("outages")
    about.add_argument(
        "--key-servers", nargs="+", choices=BEHAVIOURS, default=list(BEHAVIOURS), help="what they do (default: all)"
    )
    about.add_argument("--outage", type=float, default=2.5, help="for how many seconds (default %(default)s)")
    about = parser.add_argument_group("names and digests")
    about.add_argument("--names", type=int, default=1_000_000, help="how many of either (default %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part: {', '.join(sorted(unknown))}")
    if not all(1 <= size <= USERS for size in options.in_flight):
        parser.error(f"--in-flight: from 1 to {USERS}")
    print(f"Python {platform.python_version()}", flush=True)
    for part in options.parts or PARTS:
        print(f"\n{PARTS[part](options)}", flush=True)


if __name__ == "__main__":
    main()
