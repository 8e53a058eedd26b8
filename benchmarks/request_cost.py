"""The time of one request behind authguard, compared with the bare app and with Starlette's middleware and PyJWT.

Everything runs in one process, and the app is called directly, as a server calls it. Sockets and HTTP parsing would
cost several times what is measured here, and would hide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authguard import PUBLIC, role
from benchmarks.apps import BASIC_CREDENTIALS, cached_basic, guarded, minimal_scheme, peer, quiet, rule, starlette
from benchmarks.asgi_requests import bearer, request_sample, rule_lookup_sample, status_of
from benchmarks.measure import Sample, measure, spread
from benchmarks.tokens import EC, ED, SECRET, TOKEN, bare_verify, mint

BARE, FLOOR = "bare Starlette route", "bare route, then bare RS256 verify"
PEER = "AuthenticationMiddleware and PyJWT, RS256"
PUBLIC_ROUTE, RS256 = "authguard, PUBLIC", "authguard, RS256"
ROLE = "authguard, RS256 and a role"
DENIED, DENIED_LOGGED = "authguard, denied, log off", "authguard, denied, log on"
MINIMAL_SCHEME, CACHED_BASIC = "authguard, a minimal custom scheme", "authguard, Basic, cached verification"
FEW_RULES, MANY_RULES = "look-up among 5 rules", "look-up among 500 rules"


@dataclass(frozen=True, slots=True)
class Ratio:
    """One row divided by another, and the maximum that is acceptable."""

    over: str
    under: str
    goal: float | None = None


RATIOS = (
    Ratio(PUBLIC_ROUTE, BARE, 1.2),
    Ratio(RS256, FLOOR, 1.7),
    Ratio(ROLE, FLOOR),
    Ratio(RS256, PEER),
    Ratio(PEER, FLOOR),
    Ratio(CACHED_BASIC, BARE, 1.8),
    Ratio(CACHED_BASIC, MINIMAL_SCHEME),
    Ratio(CACHED_BASIC, RS256),
    Ratio(MINIMAL_SCHEME, BARE),
    Ratio(DENIED, BARE),
    Ratio(DENIED_LOGGED, DENIED),
    Ratio(MANY_RULES, FEW_RULES),
)


async def samples() -> Mapping[str, Sample]:
    """The rows of the table by name.

    Each app is called once first and must give the expected status, because a broken app would be fast.
    """
    hs256, es256, eddsa = (bearer(mint(key, name)) for key, name in ((SECRET, "HS256"), (EC, "ES256"), (ED, "EdDSA")))
    rs256 = bearer(TOKEN)
    apps = {
        BARE: (starlette(), rs256, 200),
        PEER: (peer(), rs256, 200),
        PUBLIC_ROUTE: (guarded(rule(PUBLIC)), rs256, 200),
        MINIMAL_SCHEME: (minimal_scheme(), b"Minimal credentials", 200),
        CACHED_BASIC: (cached_basic(), BASIC_CREDENTIALS, 200),
        RS256: (guarded(), rs256, 200),
        ROLE: (guarded(rule(role("clerk"))), rs256, 200),
        "authguard, HS256": (guarded(key=SECRET, algorithm="HS256"), hs256, 200),
        "authguard, ES256": (guarded(key=EC, algorithm="ES256"), es256, 200),
        "authguard, EdDSA": (guarded(key=ED, algorithm="EdDSA"), eddsa, 200),
        DENIED: (guarded(log=False), None, 401),
        DENIED_LOGGED: (guarded(), None, 401),
    }
    for name, (app, authorization, expected) in apps.items():
        if (status := await status_of(app, authorization)) != expected:
            raise SystemExit(f"{name}: the status is {status}, expected was {expected}")
    rows = {name: request_sample(app, authorization) for name, (app, authorization, _) in apps.items()}
    floor = {FLOOR: request_sample(apps[BARE][0], rs256, after=bare_verify())}
    lookups = {FEW_RULES: rule_lookup_sample(5), MANY_RULES: rule_lookup_sample(500)}
    return {BARE: rows[BARE], **floor, **rows, **lookups}


def table(figures: Mapping[str, Sequence[float]]) -> str:
    """Microseconds by row, then ratios. A ratio is computed in each round; the table shows the median of the rounds."""
    width = max(map(len, figures))
    rows = [f"{'microseconds':{width}}  median   middle half"]
    for name, microseconds in figures.items():
        quartiles = spread(microseconds)
        rows.append(f"{name:{width}}  {quartiles.median:6.1f}  {quartiles.low:5.1f} - {quartiles.high:5.1f}")
    rows += ["", f"{'ratio':{width}}  median   middle half   goal"]
    for ratio in RATIOS:
        pairs = zip(figures[ratio.over], figures[ratio.under], strict=True)
        quartiles = spread([over / under for over, under in pairs])
        goal = "" if ratio.goal is None else f"{ratio.goal:7.2f}"
        rows.append(
            f"{ratio.over:{width}}  {quartiles.median:6.2f}  {quartiles.low:5.2f} - {quartiles.high:5.2f}{goal}"
        )
        rows.append(f"  to {ratio.under}")
    return "\n".join(rows)


async def request_cost(*, rounds: int, calls: int) -> str:
    """Measure all rows in this many rounds, with this many timed calls per row and round, and return the table."""
    quiet()
    return table(await measure(await samples(), rounds=rounds, calls=calls))
