"""The memory of ``LoginThrottle`` when an attacker invents account names, measured in a separate process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from authguard import LoginThrottle
from benchmarks.processes import ROOT

#: After this many names the address of the client changes, as for an attacker with many machines.
NAMES_PER_CLIENT = 1000


def resident_memory(pid: int) -> int:
    """The resident memory of this process, in bytes."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
    command = ("/bin/ps", "-o", "rss=", "-p", str(pid))
    return int(subprocess.check_output(command, text=True)) * 1024  # noqa: S603 - a fixed command


async def growth(steps: Sequence[int]) -> list[int]:
    """The growth of the memory of this process, in bytes, after each of these numbers of names."""
    throttle, before, growths = LoginThrottle(), resident_memory(os.getpid()), []
    for start, end in zip([0, *steps], steps, strict=False):
        for number in range(start, end):
            client = number // NAMES_PER_CLIENT
            await throttle.acquire(f"invented-{number}", f"10.{client >> 16}.{client >> 8 & 255}.{client & 255}")
        growths.append(resident_memory(os.getpid()) - before)
    return growths


def throttle_memory(names: int) -> str:
    """Measure with this many names, and with a tenth and a hundredth of them, and return the table."""
    steps = [max(1, names // 100), max(1, names // 10), names]
    command = [sys.executable, "-m", "benchmarks.throttle_memory", *map(str, steps)]
    growths = json.loads(subprocess.check_output(command, cwd=ROOT, text=True))  # noqa: S603 - this module
    rows = [f"{'invented names in LoginThrottle()':30}  MB of memory"]
    rows += [f"{step:30,}  {growth_bytes / 1e6:12.1f}" for step, growth_bytes in zip(steps, growths, strict=True)]
    return "\n".join(rows)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(growth([int(step) for step in sys.argv[1:]]))))
