"""The memory that ``LoginThrottle`` takes where somebody invents account names, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from authguard import LoginThrottle
from benchmarks.programs import ROOT

#: A new client each so many names, as of somebody who has a network of machines.
NAMES_OF_A_CLIENT = 1000


def resident(pid: int) -> int:
    """The octets of memory that this process has now, by its id."""
    told = Path(f"/proc/{pid}/status")
    if told.exists():
        line = next(line for line in told.read_text("utf-8").splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
    command = ("/bin/ps", "-o", "rss=", "-p", str(pid))
    return int(subprocess.check_output(command, text=True)) * 1024  # noqa: S603 - every word of it is ours


async def growth(steps: Sequence[int]) -> list[int]:
    """By how many octets the process has grown when so many names have come."""
    attempts, before, grown = LoginThrottle(), resident(os.getpid()), []
    for begin, end in zip([0, *steps], steps, strict=False):
        for number in range(begin, end):
            client = number // NAMES_OF_A_CLIENT
            await attempts.acquire(f"invented-{number}", f"10.{client >> 16}.{client >> 8 & 255}.{client & 255}")
        grown.append(resident(os.getpid()) - before)
    return grown


def names(most: int) -> str:
    """The table."""
    steps = [max(1, most // 100), max(1, most // 10), most]
    command = [sys.executable, "-m", "benchmarks.names", *map(str, steps)]
    grown = json.loads(subprocess.check_output(command, cwd=ROOT, text=True))  # noqa: S603 - our own program
    rows = [f"{'invented names in LoginThrottle()':30}  MB of memory"]
    rows += [f"{step:30,}  {octets / 1e6:12.1f}" for step, octets in zip(steps, grown, strict=True)]
    return "\n".join(rows)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(growth([int(step) for step in sys.argv[1:]]))))
