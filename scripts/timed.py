"""Run a module or a file as ``__main__``, and print at the end how long everything took since a given moment.

    python scripts/timed.py UNIX_TIME (-m MODULE | FILE) ARGUMENT...

The program runs in this process, so that signals reach it directly.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path


def duration(seconds: float) -> str:
    """ "9 s", or "2 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def main(arguments: list[str]) -> None:
    started, *arguments = arguments
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path[0] = str(Path.cwd())
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
    finally:
        print(f"Elapsed: {duration(time.time() - float(started))}.", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
