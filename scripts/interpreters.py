"""Find the CPythons of this machine, on the PATH and among pyenv's.

This file runs before any environment exists, so it uses the standard library and syntax of Python 3.9 only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

MINORS = (11, 12, 13, 14)

# A name on the PATH proves nothing: it may be a shim whose target is gone, a Debian python3 without ensurepip, or a
# local build without ssl. So each candidate runs this once. Free-threaded builds have too few wheels yet.
PROBE = """
import sys, sysconfig
from importlib.util import find_spec
plain = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
if plain and all(map(find_spec, ("_ssl", "ensurepip", "venv"))):
    print(*sys.version_info[:3], getattr(sys, "_base_executable", None) or sys.executable)
"""


class SetUpError(Exception):
    """Something that the tests need could not be installed. The message says what, and why."""


class Interpreter(NamedTuple):
    executable: str
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def name(self) -> str:
        return "Python " + ".".join(map(str, self.version))


def probe(executable: Path) -> Interpreter | None:
    """The interpreter behind this file, or None if it does not run or is not supported."""
    try:
        answer = subprocess.run(
            [str(executable), "-I", "-S", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=30,
            check=True,
        )
        major, minor, micro, path = answer.stdout.strip().split(" ", 3)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    version = (int(major), int(minor), int(micro))
    return Interpreter(path, version) if version[0] == 3 and version[1] in MINORS else None


def find_interpreters() -> list[Interpreter]:
    """The newest patch release of each minor version, the lowest minor version first."""
    names = ["python3", *(f"python3.{minor}" for minor in MINORS)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    # pyenv's shims are slow, and they only stand for what is in pyenv's own folders.
    folders = [folder for folder in folders if folder != pyenv / "shims"] + sorted(pyenv.glob("versions/*/bin"))
    candidates: dict[Path, Path] = {}
    for path in [Path(sys.executable), *(folder / name for folder in folders for name in names)]:
        if os.access(path, os.X_OK):
            candidates.setdefault(path.resolve(), path)
    with ThreadPoolExecutor(8) as pool:
        interpreters = [interpreter for interpreter in pool.map(probe, candidates.values()) if interpreter]
    newest: dict[str, Interpreter] = {}
    for interpreter in interpreters:
        if interpreter.minor not in newest or interpreter.version > newest[interpreter.minor].version:
            newest[interpreter.minor] = interpreter
    if not newest:
        raise SetUpError(
            f"No CPython 3.{MINORS[0]} to 3.{MINORS[-1]} with venv was found on this machine.\n"
            "On Debian and Ubuntu, the package that is often missing is python3-venv."
        )
    return sorted(newest.values(), key=lambda interpreter: interpreter.version)
