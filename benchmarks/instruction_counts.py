"""Count the instructions of rows, in a process that runs under callgrind. ``benchmarks.instructions`` starts it.

    python -m benchmarks.instruction_counts OUTPUT MATERIAL requests ROW...
    python -m benchmarks.instruction_counts OUTPUT MATERIAL import MODULE...

It prints a line of JSON for each row: its name and the counts of its rounds, for one request each. For each row this
process forks itself, so that no row changes the state of another and the imports are paid for once.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.callgrind import Callgrind

if TYPE_CHECKING:
    from benchmarks.material import Material

#: Requests that are not counted. Python specialises its bytecode during the first dozens, and the log writes a denial
#: of a flood when their number is a power of two: the measured ones lie between 128 and 256.
WARM_UP = 140
#: The lowest round counts, so that what happens once in a while, such as a look at a file, is left out.
ROUNDS, REQUESTS = 5, 20
#: How many requests a row makes in all.
TOTAL = WARM_UP + ROUNDS * REQUESTS
#: The prefix of the rows that verify a signature and do nothing else.
VERIFY = "verify-"
#: The prefix of the rows with a burst of logins.
BURST = "burst"


async def count_requests(callgrind: Callgrind, material: Material, name: str) -> list[int]:
    """The instructions of one request of this path, by round."""
    from benchmarks import paths  # noqa: PLC0415 - the process that counts an import must not have imported this

    path = paths.PATHS[name]
    prepared = await path.prepare(material, TOTAL)
    for number in range(WARM_UP):
        if (status := await prepared.status(number)) != path.status:
            raise SystemExit(f"{name}: the status of request {number + 1} is {status}, expected was {path.status}")
    calls = [prepared.call(number) for number in range(WARM_UP, TOTAL)]
    freeze()
    callgrind.start()
    counts = [await _count(callgrind, calls[first : first + REQUESTS]) for first in range(0, len(calls), REQUESTS)]
    callgrind.stop()
    return counts


async def _count(callgrind: Callgrind, calls: Sequence[Callable[[], Awaitable[None]]]) -> int:
    callgrind.zero()
    for call in calls:
        await call()
    return callgrind.total() // len(calls)


async def count_burst(callgrind: Callgrind, name: str) -> list[int]:
    """The instructions of one login, where a thousand arrive in one turn of the loop, until it waits or is refused."""
    from benchmarks import login_burst  # noqa: PLC0415 - as above

    counts: list[int] = []
    for is_counted in (False, True):
        app = login_burst.BLOCKED_APPS[name]()
        tasks = login_burst.arrive(app, login_burst.LOGINS, one_address="one-address" in name)
        if is_counted:
            freeze()
            callgrind.start()
            callgrind.zero()
        for _ in range(login_burst.TURNS):
            await asyncio.sleep(0)
        if is_counted:
            counts.append(callgrind.total() // login_burst.LOGINS)
            callgrind.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return counts


def count_verifications(callgrind: Callgrind, material: Material, algorithm: str) -> list[int]:
    """The instructions of one bare verification, by round."""
    from benchmarks.paths import bare_verify  # noqa: PLC0415 - as above

    verify = bare_verify(material, algorithm)
    calls = [verify(token) for token in material.tokens[algorithm][:TOTAL]]
    for call in calls[:WARM_UP]:
        call()
    counts: list[int] = []
    freeze()
    callgrind.start()
    for first in range(WARM_UP, TOTAL, REQUESTS):
        callgrind.zero()
        for call in calls[first : first + REQUESTS]:
            call()
        counts.append(callgrind.total() // REQUESTS)
    callgrind.stop()
    return counts


def count_imports(callgrind: Callgrind, modules: Sequence[str]) -> list[int]:
    """The instructions of importing these modules, once."""
    freeze()
    callgrind.start()
    callgrind.zero()
    for module in modules:
        importlib.import_module(module)
    return [callgrind.total()]


def freeze() -> None:
    """Collect no garbage while instructions are counted: it would hit whichever request crosses the threshold."""
    gc.collect()
    gc.freeze()
    gc.disable()


def report(name: str, counts: Sequence[int]) -> None:
    """Print the line of a row."""
    print(json.dumps([name, counts]), flush=True)


def in_child(action: Callable[[], None]) -> None:
    """Run this in a forked child, and end if it fails."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit(status)


def main(arguments: Sequence[str]) -> None:
    """Count what the command line names."""
    output, saved, kind, *names = arguments
    if kind == "import":
        report("+".join(names), count_imports(Callgrind(Path(f"{output}.{os.getpid()}")), names))
        return
    from benchmarks import paths  # noqa: PLC0415 - as above
    from benchmarks.material import Material  # noqa: PLC0415

    paths.quiet()
    material = Material.load(Path(saved))

    def count(name: str) -> None:
        callgrind = Callgrind(Path(f"{output}.{os.getpid()}"))
        if name.startswith(VERIFY):
            algorithm = next(known for known in paths.ALGORITHMS if known.lower() == name.removeprefix(VERIFY))
            report(name, count_verifications(callgrind, material, algorithm))
        elif name.startswith(BURST):
            report(name, asyncio.run(count_burst(callgrind, name)))
        else:
            report(name, asyncio.run(count_requests(callgrind, material, name)))

    for name in names:
        in_child(partial(count, name))


if __name__ == "__main__":
    main(sys.argv[1:])
