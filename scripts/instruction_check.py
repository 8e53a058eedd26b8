"""Install valgrind if it is missing, then compare the instructions of a few requests with the committed figures.

`make check` runs this. Without valgrind there is nothing to compare, which fails only where it must be installable: for
root on Debian with CI=true.
"""

from __future__ import annotations

import os
import sys

import environments
import system_packages


def main() -> int:
    system_packages.ensure(environments.say, ["valgrind"])
    if system_packages.missing(["valgrind"]):
        print("Not compared: valgrind is not installed, and could not be.", flush=True)
        return 1 if os.environ.get("CI") == "true" and system_packages.can_install() else 0
    os.chdir(environments.ROOT)
    return os.execv(sys.executable, [sys.executable, "-m", "benchmarks.instructions", "--check"])


if __name__ == "__main__":
    sys.exit(main())
