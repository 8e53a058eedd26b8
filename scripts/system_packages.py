"""Install programs that some tests talk to, such as curl or nginx, or that measure: with apt-get, if this is root.

python3 scripts/system_packages.py PROGRAM...
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

import environments

# Each program, and the Debian package that has it.
PROGRAMS = {
    # Without the package apache2, which would start a server.
    "apache2": "apache2-bin",
    "chromium": "chromium",
    "curl": "curl",
    "htpasswd": "apache2-utils",
    "javac": "default-jdk-headless",
    "lighttpd": "lighttpd",
    "lwp-request": "libwww-perl",
    "nginx": "nginx",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "psql": "postgresql",
    "redis-sentinel": "redis-sentinel",
    "redis-server": "redis-server",
    "valgrind": "valgrind",
    "wget": "wget",
    "wrk": "wrk",
}
# Seconds for one run of apt-get. Chromium is a hundred megabytes, and Java is another hundred.
PATIENCE = 600
# Debian installs some programs where only root's PATH leads.
ROOTS_FOLDER = "/usr/sbin"


def missing(names: Iterable[str] = PROGRAMS) -> list[str]:
    """Those of these programs that are not installed."""
    return [name for name in names if not shutil.which(name) and not shutil.which(name, path=ROOTS_FOLDER)]


def can_install() -> bool:
    """Whether this is root on Debian or Ubuntu."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def ensure(say: environments.Say, names: Iterable[str] = PROGRAMS) -> None:
    """Install those that are missing, if this is root on Debian or Ubuntu. Otherwise what needs them is skipped."""
    programs = missing(names)
    if not programs or not can_install():
        return
    say(f"installing with apt-get: {', '.join(programs)} (once; up to five minutes)")
    try:
        _apt_get("update")
        # All at once is fastest, but one name that this distribution does not have fails them all.
        _install(programs)
        for program in missing(programs):
            _install([program])
    except (OSError, subprocess.TimeoutExpired) as failure:
        say(f"apt-get did not finish: {failure}")


def _install(programs: list[str]) -> None:
    _apt_get("install", "--yes", "--no-install-recommends", *(PROGRAMS[program] for program in programs))


def _apt_get(*arguments: str) -> None:
    subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=60", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )


if __name__ == "__main__":
    ensure(environments.say, sys.argv[1:])
