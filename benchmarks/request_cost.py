"""The time of one request on each path through authguard, beside the bare route and beside other libraries.

Everything runs in one process, and the app is called directly, as a server calls it. Sockets and HTTP parsing would
cost several times what is measured here, and would hide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import describe
from benchmarks.material import MORE_THAN_A_CACHE, Material, make_material
from benchmarks.measure import WARM_UP_CALLS, Sample, measure, spread, target_sample
from benchmarks.paths import ALGORITHMS, PATHS, Target, bare_verify, each, nothing, quiet
from benchmarks.peers import FLOORS, PEERS, PLAIN, check_refusals, peer_versions, target
from benchmarks.plots import Bar, bars
from benchmarks.results import Goal, PartResult, Progress

STARLETTE = "AuthenticationMiddleware and PyJWT"
#: What is measured of these peers beyond a good RS256 token: the tokens of each row, or None for no token.
REFUSED_BY = {
    PLAIN: {"nothing": None, "expired": "expired", "forged": "forged"},
    STARLETTE: {"nothing": None, "expired": "expired"},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what it is, its time, the row of what cannot be saved, and the status that each request must have."""

    text: str
    sample: Sample
    bare: str | None = None
    target: Target | None = None
    status: int = 200


def with_verify(floor: str, algorithm: str | None) -> str:
    """The name of the row that is a bare route and, for an algorithm, a bare verification after it."""
    return floor if algorithm is None else f"{floor}+{algorithm.lower()}"


async def own_rows(material: Material, total: int) -> dict[str, Row]:
    """The bare routes, alone and with a bare verification, and all paths through authguard."""
    paths = [path for path in PATHS.values() if not path.grows]
    targets = {path.name: await path.prepare(material, total) for path in paths}
    rows: dict[str, Row] = {}
    for path in paths:
        bare = None if path.name == path.floor else with_verify(path.floor, path.verifies)
        prepared = targets[path.name]
        rows[path.name] = Row(path.text, target_sample(prepared), bare, prepared, path.status)
    for floor, algorithm in (*(("floor", name) for name in ALGORITHMS), ("fastapi", "RS256")):
        rows[with_verify(floor, algorithm)] = _verified(material, PATHS[floor].text, targets[floor], algorithm)
    return rows


def _verified(material: Material, text: str, floor: Target, algorithm: str) -> Row:
    verify, tokens = bare_verify(material, algorithm), material.tokens[algorithm]
    calls = [verify(token) for token in tokens]
    return Row(f"{text}, then bare {algorithm} verify", target_sample(floor, lambda number: calls[number % len(calls)]))


async def peer_rows(material: Material) -> dict[str, Row]:
    """The peers that are installed, and the bare routes of their frameworks. Each has refused what it must."""
    rows: dict[str, Row] = {}
    for name, peer in PEERS.items():
        if peer.missing():
            continue
        await check_refusals(name, peer, material)
        if peer.floor in FLOORS and peer.floor not in rows:
            floor = target(FLOORS[peer.floor][1](), nothing)
            rows[peer.floor] = Row(f"bare {FLOORS[peer.floor][0]} route", target_sample(floor), None, floor)
            rows[with_verify(peer.floor, "RS256")] = _verified(material, rows[peer.floor].text, floor, "RS256")
        for algorithm in peer.algorithms:
            request = target(peer.build(material, algorithm), each(material.tokens[algorithm]))
            bare = with_verify(peer.floor, algorithm)
            rows[f"{name}: {algorithm}"] = Row(f"{name}, {algorithm}", target_sample(request), bare, request)
        for what, kind in REFUSED_BY.get(name, {}).items():
            tokens = nothing if kind is None else each(material.tokens[kind])
            request = target(peer.build(material, "RS256"), tokens)
            bare = with_verify(peer.floor, None if kind is None else "RS256")
            rows[f"{name}: {what}"] = Row(f"{name}, {what}", target_sample(request), bare, request, 401)
        if peer.forbids is not None:
            request = target(peer.forbids(material, "RS256"), each(material.tokens["RS256"]))
            bare = with_verify(peer.floor, "RS256")
            rows[f"{name}: role missing"] = Row(f"{name}, role missing", target_sample(request), bare, request, 403)
    return rows


async def check_statuses(rows: Mapping[str, Row], number: int) -> None:
    """Raise ``SystemExit`` unless a request of each row has its status, because a broken app would be fast."""
    for name, row in rows.items():
        if row.target is not None and (status := await row.target.status(number)) != row.status:
            raise SystemExit(f"{name}: the status is {status}, expected was {row.status}")


Figures = Mapping[str, Sequence[float]]


def ratio(figures: Figures, over: str, under: str) -> float:
    """One row divided by another: computed in each round, and the median of the rounds."""
    return median(first / second for first, second in zip(figures[over], figures[under], strict=True))


#: What is measured, the row, the row that it is divided by, and the highest good ratio.
GOALS: Sequence[tuple[str, str, str, float]] = (
    ("cold RS256 / (bare route + verify)", "cold-rs256", "floor+rs256", 1.45),
    ("cold HS256 / (bare route + verify)", "cold-hs256", "floor+hs256", 2.0),
    ("cold ES256 / (bare route + verify)", "cold-es256", "floor+es256", 1.25),
    ("cold EdDSA / (bare route + verify)", "cold-eddsa", "floor+eddsa", 1.18),
    ("warm RS256 / bare route", "warm-rs256", "floor", 1.5),
    ("nothing presented, folded / bare route", "nothing-folded", "floor", 0.6),
    ("nothing presented, written / bare route", "nothing-written", "floor", 2.5),
    ("Basic, htpasswd, after a wrong password / bare route", "basic-htpasswd-after-wrong", "floor", 1.7),
    ("Digest / bare route", "digest", "floor", 3.0),
    ("PUBLIC / bare route", "public", "floor", 1.18),
    ("expired, folded / the same of pure ASGI", "expired-folded", f"{PLAIN}: expired", 0.6),
    ("forged, folded / the same of pure ASGI", "forged-folded", f"{PLAIN}: forged", 0.6),
    ("role missing, folded / the same of pure ASGI", "role-missing-folded", f"{PLAIN}: role missing", 0.6),
    ("the same expired, folded / the same of pure ASGI", "expired-again", f"{PLAIN}: expired", 0.6),
    (
        "the same with a role missing, folded / the same of pure ASGI",
        "role-missing-again",
        f"{PLAIN}: role missing",
        0.6,
    ),
    ("cold RS256 / the same of pure ASGI", "cold-rs256", f"{PLAIN}: RS256", 0.5),
    ("cold EdDSA / the same of pure ASGI", "cold-eddsa", f"{PLAIN}: EdDSA", 0.75),
    ("FastAPI, CurrentPrincipal, cold RS256 / (bare FastAPI + verify)", "fastapi-principal", "fastapi+rs256", 1.4),
)


def table(rows: Mapping[str, Row], figures: Figures) -> str:
    """Microseconds by row, and the ratio of each to the bare route with a bare verification."""
    width = max(len(row.text) for row in rows.values())
    lines = [f"{'microseconds':{width}}  median     middle half  / (bare route + verify)"]
    for name, row in rows.items():
        quartiles = spread(figures[name])
        middle = f"{quartiles.low:7.1f} - {quartiles.high:6.1f}"
        bare = "" if row.bare is None else f"{ratio(figures, name, row.bare):6.2f}"
        lines.append(f"{row.text:{width}}  {quartiles.median:6.1f}{middle:>16}  {bare}".rstrip())
    return "\n".join(lines)


def plots(rows: Mapping[str, Row], figures: Figures) -> dict[str, str]:
    """Two drawings: a good RS256 token by library, and the paths through authguard."""
    medians = {name: median(values) for name, values in figures.items()}

    def bar(name: str, *, ours: bool = True) -> Bar:
        bare = rows[name].bare
        return Bar(medians[name], medians[name] if bare is None else medians[bare], ours)

    libraries = {
        "authguard, token seen before": bar("warm-rs256"),
        "authguard": bar("cold-rs256"),
        "authguard in FastAPI": bar("fastapi-principal"),
    }
    libraries |= {name: bar(f"{name}: RS256", ours=False) for name in PEERS if f"{name}: RS256" in rows}
    paths = {row.text: bar(name) for name, row in rows.items() if name in PATHS}
    base = "the bare route of the framework, and a bare verification where a signature is verified"
    title = "Microseconds for one request"
    versions = f"{describe()}\n{', '.join(peer_versions())}"
    return {
        "benchmark-libraries.svg": bars(f"{title} with a good RS256 token", libraries, base=base, note=versions),
        "benchmark-paths.svg": bars(f"{title}, by what is presented", paths, base=base, note=describe()),
    }


async def request_cost(*, rounds: int, calls: int, tokens: int = MORE_THAN_A_CACHE) -> PartResult:
    """Measure all rows in this many rounds, with this many timed calls per row and round.

    With fewer tokens than a cache has room for, a token that should be new to a row may not be.
    """
    quiet()
    progress = Progress("requests", rounds)
    material = make_material(tokens)
    # Two more, for the checks of the statuses before and after.
    total = rounds * (calls + WARM_UP_CALLS) + 2
    rows = {**await own_rows(material, total), **await peer_rows(material)}
    await check_statuses(rows, total - 2)
    samples = {name: row.sample for name, row in rows.items()}
    figures = await measure(samples, rounds=rounds, calls=calls, progress=progress.step)
    await check_statuses(rows, total - 1)
    goals = [Goal(what, ratio(figures, over, under), limit) for what, over, under, limit in GOALS]
    missing = [f"Not installed: {name}." for name, peer in PEERS.items() if peer.missing()]
    text = "\n".join([table(rows, figures), *missing, f"Versions: {', '.join(peer_versions())}."])
    return PartResult(text, goals, plots(rows, figures), figures["floor"])
