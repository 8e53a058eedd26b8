"""What a request costs behind authguard, beside the bare app and beside Starlette's own middleware with PyJWT.

All in one process and without a server, by calling the app as a server does: sockets and the parsing of HTTP cost
several times what is measured here, and would hide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authguard import PUBLIC, role
from benchmarks.apps import LOGIN, guarded, peer, quiet, remembering, rule, starlette, trusting
from benchmarks.measure import Sample, measure, spread
from benchmarks.requests import bearing, getting, looking_up, status_of
from benchmarks.tokens import EC, ED, SECRET, TOKEN, bare_verify, mint

BARE, FLOOR = "bare Starlette route", "bare route, then bare RS256 verify"
PEER = "AuthenticationMiddleware and PyJWT, RS256"
OPEN, COLD = "authguard, PUBLIC", "authguard, RS256"
ROLE = "authguard, RS256 and a role"
SILENT, TOLD = "authguard, denied, log off", "authguard, denied, log on"
OWN, HIT = "authguard, the least scheme of one's own", "authguard, Basic, a password remembered"
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
    Ratio(HIT, BARE, 1.8),
    Ratio(HIT, OWN),
    Ratio(HIT, COLD),
    Ratio(OWN, BARE),
    Ratio(SILENT, BARE),
    Ratio(TOLD, SILENT),
    Ratio(MANY, FEW),
)


async def samples() -> Mapping[str, Sample]:
    """What is measured, by its name.

    Each app has answered once as it should: what is fast because it is broken is no figure.
    """
    hs256, es256, eddsa = (bearing(mint(*made)) for made in ((SECRET, "HS256"), (EC, "ES256"), (ED, "EdDSA")))
    rs256 = bearing(TOKEN)
    apps = {
        BARE: (starlette(), rs256, 200),
        PEER: (peer(), rs256, 200),
        OPEN: (guarded(rule(PUBLIC)), rs256, 200),
        OWN: (trusting(), b"Trusting of-whatever-comes", 200),
        HIT: (remembering(), LOGIN, 200),
        COLD: (guarded(), rs256, 200),
        ROLE: (guarded(rule(role("clerk"))), rs256, 200),
        "authguard, HS256": (guarded(key=SECRET, algorithm="HS256"), hs256, 200),
        "authguard, ES256": (guarded(key=EC, algorithm="ES256"), es256, 200),
        "authguard, EdDSA": (guarded(key=ED, algorithm="EdDSA"), eddsa, 200),
        SILENT: (guarded(log=False), None, 401),
        TOLD: (guarded(), None, 401),
    }
    for name, (app, sent, expected) in apps.items():
        if (status := await status_of(app, sent)) != expected:
            raise SystemExit(f"{name}: answered {status}, not {expected}")
    rows = {name: getting(app, sent) for name, (app, sent, _) in apps.items()}
    floor = {FLOOR: getting(apps[BARE][0], rs256, after=bare_verify())}
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


async def costs(*, rounds: int, calls: int) -> str:
    """The table, of so many rounds, and so many timed calls of a row in each."""
    quiet()
    return table(await measure(await samples(), rounds=rounds, calls=calls))
