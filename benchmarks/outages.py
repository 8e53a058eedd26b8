"""What a PUBLIC route waits while a key server misbehaves, and what becomes of the tokens meanwhile.

Over sockets, as beside the logins: a server, a prober, and a few clients whose tokens name the key that there is, or
one that nobody knows, another each time. While the key server still answers, the keys come to the server once; then it
misbehaves, and soon they are old. The clients come again whatever they are told, so that refusals cost what they cost.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

from benchmarks.crowd import Crowd
from benchmarks.fetching import FRESH, OURS, PEER
from benchmarks.keyserver import AFTER, AT_ONCE, HANGS, KeyServer, key_server
from benchmarks.logins import RATE, p99
from benchmarks.names import resident
from benchmarks.programs import Served, program, serving
from benchmarks.tokens import TOKEN

#: So many clients come with tokens of either kind, each again this long after its answer, in seconds.
CLIENTS, PAUSE = 4, 0.05
#: What the prober has to start before anything counts, and for how long it then probes without the clients.
STARTING, IDLE = 0.4, 0.4
#: How long a fetch may take, here as there. Where the key server hangs, both were told that it may.
TIMEOUT, SHORT_TIMEOUT = 4.0, 2.0
#: These take their time to show; for the rest this part of the time is enough. The peer is measured beside these.
SLOW, SOON = (AFTER, HANGS), 0.5
#: Good tokens before anything counts, so that what they allocate once is in the memory before.
WARMING = 50
_KNOWN, _UNKNOWN = (200, 401, 503), (401, 503)


@dataclass(slots=True)
class Beside:
    """One outage: milliseconds of ``/health``, what was answered to tokens, octets of memory: before, most, after."""

    idle: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    known: Counter[int] = field(default_factory=Counter)
    unknown: Counter[int] = field(default_factory=Counter)
    fetches: int = 0
    memory: Sequence[int] = ()
    told: str = ""


def outages(behaviours: Sequence[str], *, seconds: float) -> str:
    """The table, of key servers that behave like this, each for so many seconds, or half of that."""
    found: dict[tuple[str, str], Beside] = {}
    for behaviour in behaviours:
        for app in (OURS, PEER) if behaviour in SLOW else (OURS,):
            found[app, behaviour] = beside(app, behaviour, seconds * (1 if behaviour in SLOW else SOON))
    return table(found)


def beside(app: str, behaviour: str, seconds: float) -> Beside:
    """One server, and one outage."""
    timeout = SHORT_TIMEOUT if behaviour == HANGS else TIMEOUT
    with key_server() as keys, serving("benchmarks.fetching", app, keys.url, str(timeout)) as served:
        _warm(served.port)
        begin = time.monotonic() + STARTING
        come = begin + IDLE
        until = come + seconds
        with program("benchmarks.prober", str(served.port), str(until), str(RATE)) as prober:
            time.sleep(max(0.0, come - time.monotonic()))
            found = _outage(served, keys, behaviour, until)
            printed, _ = prober.communicate()
        if prober.returncode:
            raise SystemExit(f"{app}, {behaviour}: the prober has failed")
        found.told = _told(served.port) if app == OURS else ""
    for at, took in json.loads(printed):
        if at >= begin:
            (found.idle if at < come else found.waits).append(took * 1000)
    return found


def _outage(served: Served, keys: KeyServer, behaviour: str, until: float) -> Beside:
    before = most = resident(served.pid)
    fetched = len(keys.asked)
    keys.behaviour = behaviour
    known, unknown = (Crowd(served.port, CLIENTS, asking, PAUSE) for asking in (with_known_key(), with_unknown_keys()))
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(crowd.run, arriving=PAUSE, until=until) for crowd in (known, unknown)]
        while time.monotonic() < until:
            most = max(most, resident(served.pid))
            time.sleep(0.02)
        after = resident(served.pid)
        for crowd in running:
            crowd.result()
    fetches = len(keys.asked) - fetched
    return Beside(
        known=known.statuses, unknown=unknown.statuses, fetches=fetches, memory=(before, max(most, after), after)
    )


def with_known_key() -> Callable[[int], bytes]:
    """Requests with a good token."""
    return lambda number: _request(TOKEN)


def with_unknown_keys() -> Callable[[int], bytes]:
    """Requests with a token that names a key which nobody has, and no other names."""
    _, signed = TOKEN.split(b".", 1)
    numbers = itertools.count()

    def ask(number: int) -> bytes:
        header = json.dumps({"alg": "RS256", "typ": "JWT", "kid": f"{number}-{next(numbers)}"}).encode()
        return _request(base64.urlsafe_b64encode(header).rstrip(b"=") + b"." + signed)

    return ask


def _request(token: bytes) -> bytes:
    return b"GET /orders HTTP/1.1\r\nHost: orders.example\r\nAuthorization: Bearer " + token + b"\r\n\r\n"


def _warm(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(WARMING):
        connection.request("GET", "/orders", headers={"Authorization": f"Bearer {TOKEN.decode()}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"a good token: answered {answer.status}")
    connection.close()


def _told(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/told")
    problem = json.load(connection.getresponse())["last_error"]
    connection.close()
    return problem or ""


def table(found: dict[tuple[str, str], Beside]) -> str:
    """Milliseconds, answers, fetches and megabytes by app and misbehaviour; a ratio is to the p99 while all is well."""
    # Of all turns and apps, as beside the logins.
    idle = [took for one in found.values() for took in one.idle]
    title = f"GET /health beside {2 * CLIENTS} clients with tokens"
    rows = [
        f"{title:{_WIDTH}}{'milliseconds':>32}{'known key':>21}{'unknown key':>14}{'':9}{'megabytes':>21}",
        _row(
            *("", "the key server"),
            *("p50", "p99", "to idle", "longest"),
            *("200", "401", "503", "401", "503"),
            "fetches",
            *("before", "most", "after"),
            "  what the record says of it",
        ),
        _row("idle", AT_ONCE, *_figures(idle, idle)),
    ]
    for (app, behaviour), one in found.items():
        answers = [f"{one.known[status]}" for status in _KNOWN] + [f"{one.unknown[status]}" for status in _UNKNOWN]
        megabytes = (f"{octets / 1e6:.1f}" for octets in one.memory)
        figures = _figures(one.waits, idle)
        rows.append(_row(app, behaviour, *figures, *answers, f"{one.fetches}", *megabytes, f"  {one.told}"))
    rows.append(f"Keys are fresh for {FRESH:g} s in either. What is not answered when the time is over is not counted.")
    return "\n".join(rows)


_WIDTH = 29


def _figures(waits: Sequence[float], idle: Sequence[float]) -> Sequence[str]:
    return [f"{figure:.1f}" for figure in (median(waits), p99(waits), p99(waits) / p99(idle), max(waits))]


def _row(app: str, behaviour: str, *cells: str) -> str:
    widths = (8, 8, 8, 8, 7, 7, 7, 7, 7, 9, 7, 7, 7, 0)
    told = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
    return f"{app:13}{behaviour:{_WIDTH - 13}}{told}".rstrip()
