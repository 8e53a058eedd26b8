"""Write constraints.txt: the version and hashes of each package that the project is run, built, tested or checked with.
Then write benchmarks/peers.txt, which `make bench` needs, with the same version of each package that both name, and
oldest.txt, the oldest version of each dependency that pyproject.toml allows.

    python3 scripts/lock.py

One lock file serves every supported Python on Linux and macOS, so the last step checks for each of them that wheels
alone are enough.
"""

from __future__ import annotations

import subprocess
import sys

import environments
from interpreters import MINORS, SetUpError, find_interpreters

UV = "uv==0.13.9"
CONSTRAINTS, PEERS, OLDEST = "scripts/constraints.txt", "benchmarks/peers.txt", "scripts/oldest.txt"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "x86_64-apple-darwin", "aarch64-apple-darwin")
# A release with stolen credentials is mostly found within days, so newer releases than this are left out.
COOL_DOWN = "7 days"


def resolve(python: str, output: str, *sources: str) -> None:
    command = [
        *(python, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", f"3.{MINORS[0]}"),
        *("--upgrade", "--exclude-newer", COOL_DOWN, "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--custom-compile-command", "make lock"),
        *("--output-file", output, "pyproject.toml", *sources),
    ]
    subprocess.run(command, cwd=environments.ROOT, stdout=subprocess.DEVNULL, check=True)


def has_wheels(python: str, requirements: str, platform: str, minor: int) -> bool:
    command = [
        *(python, "-m", "uv", "pip", "install", "--quiet", "--dry-run", "--target", ".venv/nowhere"),
        *("--python-platform", platform, "--python-version", f"3.{minor}"),
        *("--only-binary", ":all:", "--require-hashes", "--requirement", requirements),
    ]
    return subprocess.run(command, cwd=environments.ROOT, check=False).returncode == 0


def main() -> int:
    try:
        home = environments.VENVS / "lock"
        with environments.locked("lock"):
            environments.say(f"installing {UV} in .venv/lock")
            environments.run_quietly(find_interpreters()[0].executable, "-I", "-m", "venv", "--clear", home)
            pip = (home / "bin" / "python", "-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
            environments.run_quietly(*pip, "--only-binary", ":all:", UV)
            python = str(home / "bin" / "python")
            environments.say("resolving the versions (about a minute)")
            resolve(python, CONSTRAINTS, "scripts/requirements.in")
            resolve(python, PEERS, "benchmarks/peers.in", "--constraint", CONSTRAINTS)
            resolve(python, OLDEST, "--all-extras", "--no-deps", "--resolution", "lowest-direct")
        missing = [
            f"{requirements} for Python 3.{minor} on {platform}"
            for requirements in (CONSTRAINTS, PEERS)
            for platform in PLATFORMS
            for minor in MINORS
            if not has_wheels(python, requirements, platform, minor)
        ]
    except (SetUpError, subprocess.CalledProcessError) as failure:
        environments.say(f"The lock files were not written.\n{failure}")
        return 1
    for target in missing:
        environments.say(
            f"A wheel is missing in {target}; see above which. A marker in the .in file can pin an older one."
        )
    if not missing:
        environments.say(
            f"{CONSTRAINTS}, {PEERS} and {OLDEST} are written. Each package of the first two has a wheel for every "
            "supported Python and platform."
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
