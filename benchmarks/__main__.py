"""What a request costs behind authguard, beside the bare app and beside Starlette's own middleware with PyJWT.

python -m benchmarks               about half a minute
python -m benchmarks --rounds 100  sooner, and rougher

All in one process and without a server, by calling the app as a server does: sockets and the parsing of HTTP cost
several times what is measured here, and would hide it.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authguard import PUBLIC, role
from benchmarks.apps import guarded, peer, quiet, rule, starlette
from benchmarks.measure import Sample, measure, spread
from benchmarks.requests import getting, looking_up, status_of
from benchmarks.tokens import EC, ED, SECRET, TOKEN, bare_verify, mint

ROUNDS, CALLS = 1500, 15

BARE, FLOOR = "bare Starlette route", "bare route, then bare RS256 verify"
PEER = "AuthenticationMiddleware and PyJWT, RS256"
OPEN, COLD = "authguard, PUBLIC", "authguard, RS256"
ROLE = "authguard, RS256 and a role"
SILENT, TOLD = "authguard, denied, log off", "authguard, denied, log on"
FEW, MANY = "look-up among 5 rules", "look-up among 500 rules"


@dataclass(frozen=True, slots=True)
class Ratio:
    """One row over another, and the most that it is meant to be."""

    over: str
    under: str
    goal: float | None = None


RATIOS = (
    Ratio(OPEN, BARE, 1.2),
    Ratio(COLD, FLOOR, 1.7),
    Ratio(ROLE, FLOOR),
    Ratio(COLD, PEER),
    Ratio(PEER, FLOOR),
    Ratio(SILENT, BARE),
    Ratio(TOLD, SILENT),
    Ratio(MANY, FEW),
)


async def samples() -> Mapping[str, Sample]:
    """What is measured, by its name.

    Each app has answered once as it should: what is fast because it is broken is no figure.
    """
    hs256, es256, eddsa = mint(SECRET, "HS256"), mint(EC, "ES256"), mint(ED, "EdDSA")
    apps = {
        BARE: (starlette(), TOKEN, 200),
        PEER: (peer(), TOKEN, 200),
        OPEN: (guarded(rule(PUBLIC)), TOKEN, 200),
        COLD: (guarded(), TOKEN, 200),
        ROLE: (guarded(rule(role("clerk"))), TOKEN, 200),
        "authguard, HS256": (guarded(key=SECRET, algorithm="HS256"), hs256, 200),
        "authguard, ES256": (guarded(key=EC, algorithm="ES256"), es256, 200),
        "authguard, EdDSA": (guarded(key=ED, algorithm="EdDSA"), eddsa, 200),
        SILENT: (guarded(log=False), None, 401),
        TOLD: (guarded(), None, 401),
    }
    for name, (app, token, expected) in apps.items():
        if (status := await status_of(app, token)) != expected:
            raise SystemExit(f"{name}: answered {status}, not {expected}")
    rows = {name: getting(app, token) for name, (app, token, _) in apps.items()}
    floor = {FLOOR: getting(apps[BARE][0], TOKEN, after=bare_verify())}
    return {BARE: rows[BARE], **floor, **rows, FEW: looking_up(5), MANY: looking_up(500)}


def table(figures: Mapping[str, Sequence[float]]) -> str:
    """Microseconds by row, then ratios. A ratio is taken in each round, and told by the median of the rounds."""
    width = max(map(len, figures))
    rows = [f"{'microseconds':{width}}  median   middle half"]
    for name, own in figures.items():
        took = spread(own)
        rows.append(f"{name:{width}}  {took.median:6.1f}  {took.low:5.1f} - {took.high:5.1f}")
    rows += ["", f"{'ratio':{width}}  median   middle half   goal"]
    for ratio in RATIOS:
        pairs = zip(figures[ratio.over], figures[ratio.under], strict=True)
        found = spread([over / under for over, under in pairs])
        goal = "" if ratio.goal is None else f"{ratio.goal:7.2f}"
        rows.append(f"{ratio.over:{width}}  {found.median:6.2f}  {found.low:5.2f} - {found.high:5.2f}{goal}")
        rows.append(f"  to {ratio.under}")
    return "\n".join(rows)


async def run(rounds: int, calls: int) -> str:
    """The table."""
    quiet()
    return table(await measure(await samples(), rounds=rounds, calls=calls))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What a request costs, in microseconds.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many, at least 2 (default {ROUNDS})")
    parser.add_argument("--calls", type=int, default=CALLS, help=f"timed calls of a row in a round (default {CALLS})")
    options = parser.parse_args(arguments)
    print(f"Python {platform.python_version()}, {options.rounds} rounds of {options.calls} calls", flush=True)
    print(asyncio.run(run(max(options.rounds, 2), max(options.calls, 1))))


if __name__ == "__main__":
    main()
