"""Remake constraints.txt: every package that the project is run, built, tested and checked with, by version and hash.

    python3 .ci/lock.py

One lock serves every supported Python on Linux and macOS, so the last step asks for each of these whether it can be
installed from wheels alone.
"""

from __future__ import annotations

import subprocess
import sys

import venvs
from pythons import MINORS, SetUpError, find_interpreters

UV = "uv==0.13.9"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "x86_64-apple-darwin", "aarch64-apple-darwin")
# A release that was taken over is mostly found out within days; until then it stays out.
COOL_DOWN = "7 days"


def resolve(python: str) -> None:
    command = [
        *(python, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", f"3.{MINORS[0]}"),
        *("--upgrade", "--exclude-newer", COOL_DOWN, "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--custom-compile-command", "make lock"),
        *("--output-file", ".ci/constraints.txt", "pyproject.toml", ".ci/requirements.in"),
    ]
    subprocess.run(command, cwd=venvs.ROOT, stdout=subprocess.DEVNULL, check=True)


def has_wheels(python: str, platform: str, minor: int) -> bool:
    command = [
        *(python, "-m", "uv", "pip", "install", "--quiet", "--dry-run", "--target", ".venv/nowhere"),
        *("--python-platform", platform, "--python-version", f"3.{minor}"),
        *("--only-binary", ":all:", "--require-hashes", "--requirement", ".ci/constraints.txt"),
    ]
    return subprocess.run(command, cwd=venvs.ROOT, check=False).returncode == 0


def main() -> int:
    try:
        home = venvs.VENVS / "lock"
        with venvs.alone("lock"):
            venvs.tell(f"installing {UV} in .venv/lock")
            venvs.quietly(find_interpreters()[0].executable, "-I", "-m", "venv", "--clear", home)
            pip = (home / "bin" / "python", "-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
            venvs.quietly(*pip, "--only-binary", ":all:", UV)
            python = str(home / "bin" / "python")
            venvs.tell("resolving")
            resolve(python)
        lacking = [
            f"Python 3.{minor} on {platform}"
            for platform in PLATFORMS
            for minor in MINORS
            if not has_wheels(python, platform, minor)
        ]
    except (SetUpError, subprocess.CalledProcessError) as failure:
        venvs.tell(f"The lock was not remade.\n{failure}")
        return 1
    for one in lacking:
        venvs.tell(f"no wheel for {one}: see above which; a marker in .ci/requirements.in can hold that one back")
    if not lacking:
        venvs.tell("constraints.txt is remade, and has wheels for every supported Python and platform")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
