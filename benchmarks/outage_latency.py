"""The latency of a PUBLIC route while a key server misbehaves, and what happens to the tokens meanwhile.

As in ``login_latency``, everything runs in separate processes: a server, a probe, and a few clients. One half of the
clients send tokens with a known key; the others send tokens with unknown keys, a new one each time. The server first
fetches the keys from a healthy key server. Then the key server misbehaves, and soon the keys expire. The clients ignore
``Retry-After``, so that the cost of refusals is measured too.
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

from benchmarks.clients import Clients
from benchmarks.jwks_apps import FRESH, OURS, PEER
from benchmarks.key_server import HANGING, HEALTHY, SLOW, TOKEN, KeyServer, running_key_server
from benchmarks.login_latency import RATE, p99
from benchmarks.processes import ServerProcess, program, server_process
from benchmarks.throttle_memory import resident_memory

#: The number of clients with tokens of each kind, and their pause between requests in seconds.
CLIENTS, PAUSE = 4, 0.05
#: Seconds for the probe to start, which are not measured, and seconds that it then measures without the clients.
STARTUP, IDLE = 0.4, 0.4
#: The timeout of a fetch in seconds, in both apps. It is shorter for a key server that hangs, so that it expires.
TIMEOUT, SHORT_TIMEOUT = 4.0, 2.0
#: The effect of these outages is slow, so they get the full time and are measured for the peer too. All others get
#: this share of the time.
LONG_OUTAGES, SHORT_SHARE = (SLOW, HANGING), 0.5
#: The number of valid tokens that are sent before the measurement, so that one-time allocations are not counted.
WARM_UP_REQUESTS = 50
_KNOWN, _UNKNOWN = (200, 401, 503), (401, 503)


@dataclass(slots=True)
class OutageResult:
    """Milliseconds of ``/health``, statuses of the tokens, and the memory in bytes: before, maximum, after."""

    idle: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    known: Counter[int] = field(default_factory=Counter)
    unknown: Counter[int] = field(default_factory=Counter)
    fetches: int = 0
    memory: Sequence[int] = ()
    last_error: str = ""


def outage_latency(behaviours: Sequence[str], *, seconds: float) -> str:
    """Measure these kinds of outages, each for this long or for half of it, and return the table."""
    results: dict[tuple[str, str], OutageResult] = {}
    for behaviour in behaviours:
        long = behaviour in LONG_OUTAGES
        for app in (OURS, PEER) if long else (OURS,):
            results[app, behaviour] = outage(app, behaviour, seconds if long else seconds * SHORT_SHARE)
    return table(results)


def outage(app: str, behaviour: str, seconds: float) -> OutageResult:
    """Measure one app during one outage."""
    timeout = SHORT_TIMEOUT if behaviour == HANGING else TIMEOUT
    with running_key_server() as keys, server_process("benchmarks.jwks_apps", app, keys.url, str(timeout)) as server:
        _warm_up(server.port)
        start = time.monotonic() + STARTUP
        outage_start = start + IDLE
        end = outage_start + seconds
        with program("benchmarks.health_probe", str(server.port), str(end), str(RATE)) as probe:
            time.sleep(max(0.0, outage_start - time.monotonic()))
            result = _run_clients(server, keys, behaviour, end)
            output, _ = probe.communicate()
        if probe.returncode:
            raise SystemExit(f"{app}, {behaviour}: the probe failed")
        result.last_error = _last_error(server.port) if app == OURS else ""
    for due, took in json.loads(output):
        if due >= start:
            (result.idle if due < outage_start else result.latencies).append(took * 1000)
    return result


def _run_clients(server: ServerProcess, keys: KeyServer, behaviour: str, end: float) -> OutageResult:
    before = highest = resident_memory(server.pid)
    fetches_before = len(keys.requests)
    keys.behaviour = behaviour
    known = Clients(server.port, CLIENTS, known_key_requests(), PAUSE)
    unknown = Clients(server.port, CLIENTS, unknown_key_requests(), PAUSE)
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(clients.run, arriving=PAUSE, until=end) for clients in (known, unknown)]
        while time.monotonic() < end:
            highest = max(highest, resident_memory(server.pid))
            time.sleep(0.02)
        after = resident_memory(server.pid)
        for run in runs:
            run.result()
    return OutageResult(
        known=known.statuses,
        unknown=unknown.statuses,
        fetches=len(keys.requests) - fetches_before,
        memory=(before, max(highest, after), after),
    )


def known_key_requests() -> Callable[[int], bytes]:
    """Build requests with a valid token."""
    return lambda number: _request(TOKEN)


def unknown_key_requests() -> Callable[[int], bytes]:
    """Build requests with a token whose key nobody knows, and whose ``kid`` is new each time."""
    _, payload_and_signature = TOKEN.split(b".", 1)
    numbers = itertools.count()

    def request_of(number: int) -> bytes:
        header = json.dumps({"alg": "RS256", "typ": "JWT", "kid": f"{number}-{next(numbers)}"}).encode()
        return _request(base64.urlsafe_b64encode(header).rstrip(b"=") + b"." + payload_and_signature)

    return request_of


def _request(token: bytes) -> bytes:
    return b"GET /orders HTTP/1.1\r\nHost: orders.example\r\nAuthorization: Bearer " + token + b"\r\n\r\n"


def _warm_up(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(WARM_UP_REQUESTS):
        connection.request("GET", "/orders", headers={"Authorization": f"Bearer {TOKEN.decode()}"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise SystemExit(f"a valid token: the status is {response.status}, expected was 200")
    connection.close()


def _last_error(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/keys")
    error = json.load(connection.getresponse())["last_error"]
    connection.close()
    return error or ""


def table(results: dict[tuple[str, str], OutageResult]) -> str:
    """Milliseconds, statuses, fetches and megabytes by app and outage. A ratio is to the p99 before the outage."""
    # The idle times of all measurements together, as in ``login_latency``.
    idle = [took for result in results.values() for took in result.idle]
    title = f"GET /health beside {2 * CLIENTS} clients with tokens"
    rows = [
        f"{title:{_WIDTH}}{'milliseconds':>32}{'known key':>21}{'unknown key':>14}{'':9}{'megabytes':>21}",
        _row(
            *("", "key server"),
            *("p50", "p99", "to idle", "longest"),
            *("200", "401", "503", "401", "503"),
            "fetches",
            *("before", "maximum", "after"),
            "  last error of the keys",
        ),
        _row("idle", HEALTHY, *_figures(idle, idle)),
    ]
    for (app, behaviour), result in results.items():
        statuses = [f"{result.known[status]}" for status in _KNOWN]
        statuses += [f"{result.unknown[status]}" for status in _UNKNOWN]
        megabytes = (f"{memory / 1e6:.1f}" for memory in result.memory)
        figures = _figures(result.latencies, idle)
        rows.append(
            _row(app, behaviour, *figures, *statuses, f"{result.fetches}", *megabytes, f"  {result.last_error}")
        )
    rows.append(
        f"Keys are fresh for {FRESH:g} s in both apps. Requests that are unanswered at the end are not counted."
    )
    return "\n".join(rows)


_WIDTH = 29


def _figures(latencies: Sequence[float], idle: Sequence[float]) -> Sequence[str]:
    figures = (median(latencies), p99(latencies), p99(latencies) / p99(idle), max(latencies))
    return [f"{figure:.1f}" for figure in figures]


def _row(app: str, behaviour: str, *cells: str) -> str:
    widths = (8, 8, 8, 8, 7, 7, 7, 7, 7, 9, 7, 8, 7, 0)
    text = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
    return f"{app:13}{behaviour:{_WIDTH - 13}}{text}".rstrip()
