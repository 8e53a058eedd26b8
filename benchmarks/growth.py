"""How costs grow: with rules, keys, roles, cached tokens, nonces, and the users of a password file."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns

from authguard import PUBLIC, Bearer, Guard, HtpasswdFile, Issuer, MemoryNonces, Rule, Secret
from benchmarks.machine import describe
from benchmarks.material import AUDIENCE, ISSUER, Material, make_material, mint
from benchmarks.measure import WARM_UP_CALLS, measure, target_sample
from benchmarks.paths import ANY_ROLES, KEYS, PATHS, REALM, ROLES, RULES, Prepared, each, guarded, quiet
from benchmarks.plots import lines
from benchmarks.processes import ROOT
from benchmarks.results import Goal, PartResult, Progress

#: The paths of ``paths.PATHS`` that grow: the first part of their names, what they show, and their sizes.
REQUESTS = {
    "rules": ("PUBLIC, last of so many rules", RULES),
    "keys": ("ES256, not seen before, last of so many keys", KEYS),
    "roles": ("HS256, seen before, so many roles held", ROLES),
    "any-role": ("HS256, seen before, any_role of so many, the last", ANY_ROLES),
}
CACHED, NONCES, USERS = (100, 1_000, 10_000, 100_000), (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000, 100_000)
BUILD_GOAL = 0.3
#: Seconds after which a password file counts as not loaded.
PATIENCE = 60
_CLAIMS = 10_000
_HITS = 2_000

Series = Mapping[int, float]


async def request_series(material: Material, rounds: int, calls: int) -> dict[str, Series]:
    """Microseconds for a request, by what grows and its size."""
    names = [f"{what}-{size}" for what, (_, sizes) in REQUESTS.items() for size in sizes]
    progress = Progress("growth of requests", rounds)
    total = rounds * (calls + WARM_UP_CALLS) + 1
    targets = {name: await PATHS[name].prepare(material, total) for name in names}
    for name, target in targets.items():
        if (status := await target.status(0)) != 200:
            raise SystemExit(f"{name}: the status is {status}")
    samples = {name: target_sample(target) for name, target in targets.items()}
    figures = await measure(samples, rounds=rounds, calls=calls, progress=progress.step)
    return {
        text: {size: median(figures[f"{what}-{size}"]) for size in sizes} for what, (text, sizes) in REQUESTS.items()
    }


def _median_microseconds(nanoseconds: Sequence[int]) -> float:
    return median(nanoseconds) / 1000


async def cached_tokens(sizes: Sequence[int]) -> tuple[Series, Series]:
    """Microseconds for a request whose token is one of the last thousand of so many that came before; megabytes of all.

    The cache has a bound of 16 MiB too, so what it holds stops growing.
    """
    secret = os.urandom(48)
    tokens = [mint(secret, "HS256") for _ in range(sizes[-1])]
    hits: dict[int, float] = {}
    megabytes: dict[int, float] = {}
    progress = Progress("cached tokens", sum(sizes))
    for size in sizes:
        issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=Secret(secret))
        guard = Guard(Bearer(issuer, realm=REALM, cache=2 * size), rules=[Rule("/health", PUBLIC)])
        prepared = Prepared(guarded(guard), each(tokens))
        await prepared.status(0)
        gc.collect()
        tracemalloc.start()
        for number in range(size):
            await prepared.call(number)()
        gc.collect()
        megabytes[size] = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        took: list[int] = []
        for number in range(_HITS):
            call = prepared.call(size - 1 - number % min(size, 1000))
            start = perf_counter_ns()
            await call()
            took.append(perf_counter_ns() - start)
        hits[size] = _median_microseconds(took)
        progress.step(size)
    return hits, megabytes


def nonces(sizes: Sequence[int]) -> tuple[Series, Series]:
    """Microseconds for a claim among so many nonces, and the megabytes of all."""
    claims: dict[int, float] = {}
    megabytes: dict[int, float] = {}
    progress = Progress("nonces", sum(sizes))
    life = 300.0
    for size in sizes:
        gc.collect()
        tracemalloc.start()
        memory = MemoryNonces(most=10_000_000)
        memory.begin(0.0)
        for number in range(size):
            now = 1 + number / size
            memory.claim_now(os.urandom(20), 1, minted_at=now, expires_at=now + life, now=now)
        megabytes[size] = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        nonce, took = os.urandom(20), []
        for count in range(1, _CLAIMS + 1):
            start = perf_counter_ns()
            memory.claim_now(nonce, count, minted_at=3, expires_at=3 + life, now=3)
            took.append(perf_counter_ns() - start)
        claims[size] = _median_microseconds(took)
        progress.step(size)
    return claims, megabytes


def building(sizes: Sequence[int]) -> Series:
    """Seconds to build a guard with so many rules."""
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=Secret(os.urandom(48)))
    seconds: dict[int, float] = {}
    for size in sizes:
        start = perf_counter()
        rules = [Rule(f"/tenants/t{number}/orders/{{id}}", PUBLIC) for number in range(size)]
        Guard(Bearer(issuer, realm=REALM), rules=rules)
        seconds[size] = perf_counter() - start
    return seconds


# --- password files: each in a process of its own, because what is measured is a pause of all its threads -------------


def _password_file(path: Path, stored: str, size: int) -> Path:
    path.write_text("".join(f"user-{number}:{stored}\n" for number in range(size)), "ascii")
    return path


async def load_users(path: Path, stored: str, size: int) -> tuple[float, float, float]:
    """Seconds until a running app knows so many users, and the longest pauses of its loop and of a thread meanwhile.

    Their file is renamed over one with a single user. All users have the same hash.
    """
    now = 1000.0
    store = HtpasswdFile(_password_file(path, stored, 1), clock=lambda: now)
    new = _password_file(path.with_suffix(".new"), stored, size + 1)
    loop, thread, stop = Pauses(), Pauses(), threading.Event()

    async def tick() -> None:
        while not stop.is_set():
            await asyncio.sleep(0.0005)
            loop.tick()

    beside = threading.Thread(target=thread.run, args=(stop,))
    beside.start()
    ticking = asyncio.ensure_future(tick())
    await asyncio.sleep(0.2)
    thread.longest = loop.longest = 0.0
    os.replace(new, path)  # noqa: PTH105 - as an app's deployment does, and at once
    start = perf_counter()
    while await store.find(f"user-{size}") is None:
        now += 1.0
        await asyncio.sleep(0.001)
        if perf_counter() - start > PATIENCE:
            raise SystemExit(f"{size} users were not loaded within {PATIENCE} s")
    seconds = perf_counter() - start
    await asyncio.sleep(0.05)
    stop.set()
    await ticking
    beside.join()
    return seconds, loop.longest, thread.longest


class Pauses:
    """The longest time between two ticks, in seconds."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, perf_counter()

    def tick(self) -> None:
        """Note a tick."""
        now = perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now

    def run(self, stop: threading.Event) -> None:
        """Tick about a thousand times a second."""
        while not stop.is_set():
            time.sleep(0.001)
            self.tick()


def password_files(sizes: Sequence[int], stored: str) -> Mapping[int, tuple[float, float, float]]:
    """``load_users`` by the number of users, who all have this hash."""
    progress = Progress("password files", len(sizes))
    results: dict[int, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            command = [sys.executable, "-m", "benchmarks.growth", folder, stored, str(size)]
            output = subprocess.check_output(command, cwd=ROOT, text=True)  # noqa: S603 - this module
            seconds, loop, thread = json.loads(output)
            results[size] = (seconds, loop, thread)
            progress.step()
    return results


def _table(title: str, series: Mapping[str, Series], form: str) -> list[str]:
    sizes = sorted({size for values in series.values() for size in values})
    width = max(len(title), *map(len, series))
    rows = [f"{title:{width}}" + "".join(f"{size:>12,}" for size in sizes)]
    for name, values in series.items():
        cells = (format(values[size], form) if size in values else "" for size in sizes)
        rows.append((f"{name:{width}}" + "".join(f"{cell:>12}" for cell in cells)).rstrip())
    return rows


def growth(*, rounds: int = 100, calls: int = 5, most: int = 1_000_000, tokens: int = 500) -> PartResult:
    """Measure everything that grows, with at most ``most`` of each, and return the tables."""
    quiet()
    material = make_material(tokens)
    requests = asyncio.run(request_series(material, rounds, calls))
    hits, token_memory = asyncio.run(cached_tokens([size for size in CACHED if size <= most]))
    claims, nonce_memory = nonces([size for size in NONCES if size <= most])
    built = building(RULES)
    files = password_files([size for size in USERS if size <= most], material.stored)
    microseconds = {
        **requests,
        "HS256, seen before, among so many tokens": hits,
        "claim of a nonce among so many": claims,
    }
    seconds = {
        "build a guard with so many rules": built,
        "load a password file of so many users": {size: figures[0] for size, figures in files.items()},
        "  longest pause of the event loop": {size: figures[1] for size, figures in files.items()},
        "  longest pause of another thread": {size: figures[2] for size, figures in files.items()},
    }
    memory = {"cache after so many tokens": token_memory, "so many nonces": nonce_memory}
    text = [*_table("microseconds", microseconds, ",.1f"), ""]
    text += [*_table("seconds", seconds, ".3f"), "", *_table("megabytes", memory, ",.1f")]
    goal = Goal("seconds to build a guard with 10,000 rules", built[RULES[-1]], BUILD_GOAL)
    named = {name.strip(): values for name, values in seconds.items()}
    plots = {
        "benchmark-growth.svg": lines("Microseconds by size: a flat line does not grow", microseconds, note=describe()),
        "benchmark-loading.svg": lines("Seconds by size", named, note=describe()),
    }
    return PartResult("\n".join(text), [goal], plots)


if __name__ == "__main__":
    folder, hash_of_all, users = sys.argv[1:]
    print(json.dumps(asyncio.run(load_users(Path(folder, "users.htpasswd"), hash_of_all, int(users)))))
