"""Check format, lint, types, layers, links, documentation and instruction counts. All checks run, even if one fails.

make check
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    command: tuple[str, ...]
    # Whether the last line of the output is shown although the check has passed.
    has_note: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    step: Step
    passed: bool
    seconds: float
    output: str


STEPS = (
    Step("format", (PYTHON, "-m", "ruff", "format", "--check", "--diff", "--quiet", ".")),
    Step("lint", (PYTHON, "-m", "ruff", "check", "--quiet", ".")),
    Step("types, mypy", (PYTHON, "-m", "mypy", "--no-error-summary")),
    Step("types, pyright", (PYTHON, "-m", "pyright", "--warnings", "--pythonpath", PYTHON)),
    Step("layers", (str(Path(PYTHON).with_name("lint-imports")), "--no-cache")),
    Step("links", (PYTHON, "scripts/link_check.py")),
    Step("documentation", (PYTHON, "scripts/docs_site.py", "--strict")),
    Step("instructions", (PYTHON, "scripts/instruction_check.py"), has_note=True),
)
# Without this, pyright asks the network at every run whether a newer pyright exists.
ENVIRONMENT = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}


def run(step: Step) -> Result:
    started = time.monotonic()
    done = subprocess.run(
        step.command,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Result(step, done.returncode == 0, time.monotonic() - started, done.stdout)


def main() -> int:
    failed: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(run, STEPS):
            print(f"{'ok  ' if result.passed else 'FAIL'}  {result.step.name:<15}{result.seconds:5.1f} s", flush=True)
            if result.passed and result.step.has_note:
                print(f"      {result.output.strip().splitlines()[-1]}", flush=True)
            if not result.passed:
                failed.append(result.step.name)
                print("\n".join(f"      {line}" for line in result.output.strip().splitlines()), flush=True)
    print(f"\nFailed: {', '.join(failed)}." if failed else "\nAll checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
