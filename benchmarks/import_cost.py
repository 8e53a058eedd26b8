"""The time of an app's imports from authguard, compared with importing what every app of its kind imports anyway."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.processes import ROOT
from benchmarks.results import Goal, PartResult, Progress

# authguard imports a module when an app names something of it, so this names what an app with tokens needs.
OURS = "from authguard import AuthGuardMiddleware, Bearer, Guard, Issuer, PEM, Rule, role"
BARE = "import starlette, jwt"
STATEMENTS = (BARE, OURS, "import authguard.fastapi", "import fastapi, jwt")


def milliseconds(statement: str) -> float:
    """The processor time of this import statement in a fresh process, without starting the interpreter."""
    code = f"import time; start = time.process_time(); {statement}; print(time.process_time() - start)"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)  # noqa: S603 - the code above
    return float(output) * 1000


def import_cost(*, rounds: int = 15) -> PartResult:
    """Measure each statement in this many rounds, after one that is not measured, and return the table."""
    progress = Progress("imports", rounds + 1)
    results: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for number in range(rounds + 1):
        for statement, figures in results.items():
            figure = milliseconds(statement)
            if number:  # the first round may have compiled the modules
                figures.append(figure)
        progress.step()
    width = max(map(len, STATEMENTS))
    rows = [f"{'milliseconds':{width}}  median"]
    rows += [f"{statement:{width}}  {median(figures):6.1f}" for statement, figures in results.items()]
    ratio = median(own / bare for own, bare in zip(results[OURS], results[BARE], strict=True))
    return PartResult("\n".join(rows), [Goal(f"{OURS} / {BARE}", ratio, 1.8)])
