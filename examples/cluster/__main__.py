"""A tour of shared state: two workers behind nginx and one redis-server, which is killed and started again.

python -m examples.cluster    exits with 1 if a response or a record is not as expected, and with 2 if it cannot run
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from examples.cluster.cluster import Cluster, running_cluster
from examples.cluster.processes import PROGRAMS, missing
from examples.cluster.steps import ClusterPart, Event, parts, settings, token
from examples.tour.screen import Screen
from examples.tour.server import ServerDied
from examples.tour.step import Response
from examples.tour.tokens import new_key


def walk(screen: Screen) -> int:
    """Run all steps. Returns 0 if every response and every record is as expected, and otherwise 1."""
    key = new_key()
    tokens = {name: token(key, name.lower()) for name in ("TOKEN", "OTHER")}
    with tempfile.TemporaryDirectory(prefix="authguard-") as name:
        folder = Path(name)
        everything = {**settings(key), "REVOCATIONS": f"sqlite+aiosqlite:///{folder / 'revoked.db'}"}
        with running_cluster(folder, everything) as cluster:
            ports = ", ".join(f"{worker.name} at {worker.port}" for worker in cluster.workers)
            screen.line(
                f"examples/cluster/app.py runs twice: {ports}. nginx is at {cluster.port}, redis-server at "
                f"{cluster.redis.port}. Each step shows a request to nginx, the response, and the record of the worker "
                "that got it."
            )
            number, unexpected = _walk(screen, cluster, tokens, parts(tokens, cluster.redis.command))
    if unexpected:
        screen.line(f"\nNot as expected: {', '.join(map(str, unexpected))} of {number} steps.", "bold red")
        return 1
    screen.line(f"\n{number} steps. Every response and every record was as expected.", "bold")
    return 0


def _walk(
    screen: Screen, cluster: Cluster, tokens: Mapping[str, str], everything: Sequence[ClusterPart]
) -> tuple[int, list[int]]:
    """How many steps there were, and the numbers of those that were not as expected."""
    number = 0
    unexpected: list[int] = []
    before: Response | None = None
    for part in everything:
        screen.line(f"\n{part.title}", "bold underline")
        for step in part.steps:
            number += 1
            if isinstance(step, Event):
                screen.line(f"\n{number:2}  {step.title}", "bold")
                screen.line(f"    $ {step.command}", "cyan")
                screen.block(step.run(cluster), "green")
                screen.block(step.explanation, "dim")
            else:
                responses = step.action.run(cluster.send, tokens)
                *earlier, last = [*([] if before is None else [before]), *responses]
                differences = [
                    *step.differences(responses),
                    *step.crossing_differences(earlier[-1] if earlier else None, last),
                ]
                screen.step(number, step, last, differences)
                before = last
                if differences:
                    unexpected.append(number)
            for note in cluster.take_notes():
                screen.block(note, "dim magenta")
    return number, unexpected


def main() -> int:
    """Run the tour, or say which programs it needs."""
    # A signal that would end this process at once must stop the servers first, so it becomes an exception.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    screen = Screen()
    if programs := missing():
        packages = " ".join(PROGRAMS[program] for program in programs)
        screen.line(f"This needs {' and '.join(programs)}, which this machine does not have.", "bold red")
        screen.line(f"On Debian and Ubuntu: sudo apt-get install {packages}. As root, make demo-cluster installs them.")
        return 2
    try:
        return walk(screen)
    except KeyboardInterrupt:
        screen.line("\nInterrupted.")
        return 130
    except ServerDied as error:
        screen.line(f"\nThe cluster did not answer.\n{error}", "bold red")
        return 1


if __name__ == "__main__":
    sys.exit(main())
