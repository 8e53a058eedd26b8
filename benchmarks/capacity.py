"""How many processes and Redis servers a load needs: a simulation of clusters, with costs that were measured here.

make bench ARGS="capacity"              simulate with the costs in benchmarks/capacity.json: half a minute
make bench ARGS="capacity --measure"    measure the costs first, and write them there: a minute more
"""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis as blocking

from benchmarks.cluster_simulation import Cost, Failure, Observed, Plan, Routing, processes_for, simulate
from benchmarks.machine import describe
from benchmarks.material import MORE_THAN_A_CACHE, Material, make_material
from benchmarks.paths import PATH
from benchmarks.processes import ROOT, server_process
from benchmarks.results import PartResult, Progress
from benchmarks.server_cpu import WARM_UP, Load, processor_seconds, send_load
from benchmarks.shared_apps import BEARER, DIGEST, LOCAL, PREPARE, SESSION, UNKNOWN, Stores, digest_headers
from examples.cluster.processes import find, redis_server

INPUTS = ROOT / "benchmarks" / "capacity.json"
#: Headers of Digest for a second of load. Each is valid once.
HEADERS_A_SECOND = 8_000
#: How many clients of Digest there are, each with a nonce.
CLIENTS = 32


# --- What is measured -------------------------------------------------------------------------------------------------


def measure_costs(rounds: int, seconds: int) -> Mapping[str, Any]:
    """Serve each kind of request from a process of its own, with a Redis, and read what both needed under load.

    The least of all rounds counts, because other work on the machine can only add to it.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "material")
        material = make_material(MORE_THAN_A_CACHE)
        material.save(saved)
        progress = Progress("capacity", len(PREPARE))
        kinds: dict[str, Mapping[str, float]] = {}
        for kind in PREPARE:
            kinds[kind] = _measure(kind, material, saved, rounds, seconds)
            progress.step()
    return {"machine": describe(), "kinds": kinds}


@dataclass(frozen=True, slots=True)
class _Used:
    """What was used so far: seconds of the process and of Redis, and the number and the seconds of its scripts."""

    process: float
    redis: float
    calls: int
    script: float

    @classmethod
    def now(cls, server: int, redis: int, client: blocking.Redis) -> _Used:
        """Read it. The first two are ids of processes."""
        scripts = client.info("commandstats").get("cmdstat_evalsha", {})
        calls, script = scripts.get("calls", 0), scripts.get("usec", 0) / 1e6
        return cls(processor_seconds(server), processor_seconds(redis), calls, script)

    def each(self, before: _Used, requests: int) -> Mapping[str, float]:
        """For each request, and for each call of Redis, in microseconds."""
        calls = self.calls - before.calls
        return {
            "process": round((self.process - before.process) / requests * 1e6, 1),
            "calls": round(calls / requests, 2),
            "redis": round((self.redis - before.redis) / calls * 1e6, 1) if calls else 0.0,
            "script": round((self.script - before.script) / calls * 1e6, 1) if calls else 0.0,
        }


def _measure(kind: str, material: Material, saved: Path, rounds: int, seconds: int) -> Mapping[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server(Path(folder)) as redis,
        server_process("benchmarks.shared_apps", kind, str(saved), redis.url) as server,
        closing(blocking.Redis.from_url(redis.url)) as client,
    ):
        send_load(_load(kind, material, server.port, WARM_UP), server.port, WARM_UP)
        figures: list[Mapping[str, float]] = []
        for _ in range(rounds):
            load = _load(kind, material, server.port, seconds)
            before = _Used.now(server.pid, redis.pid, client)
            requests = send_load(load, server.port, seconds)
            figures.append(_Used.now(server.pid, redis.pid, client).each(before, requests))
    return {name: min(figure[name] for figure in figures) for name in figures[0]}


def _load(kind: str, material: Material, port: int, seconds: int) -> Load:
    """What wrk sends. Those of Digest need a challenge of the running server, and each is valid once."""
    if kind == DIGEST:
        # What was minted before the first request to a new Redis is stale, so there is one before the load.
        _get(port, digest_headers(_get(port), 1)[0].decode())
        # Several nonces by turns, because a count may only be so far behind the highest one of its nonce.
        clients = [digest_headers(_get(port), HEADERS_A_SECOND * seconds // CLIENTS) for _ in range(CLIENTS)]
        return Load(kind, "", [header.decode() for headers in zip(*clients, strict=True) for header in headers])
    prepared = asyncio.run(PREPARE[kind](material, Stores(None), 1))
    count = MORE_THAN_A_CACHE if kind == UNKNOWN else 1
    credentials = [(prepared.authorization(number) or b"").decode() for number in range(count)]
    return Load(kind, "", credentials, field=prepared.field.decode())


def _get(port: int, authorization: str = "") -> str:
    """Send a request, and return the challenge of the response; empty if it has none."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", PATH, headers={"Authorization": authorization} if authorization else {})
        return connection.getresponse().headers["WWW-Authenticate"] or ""


# --- What is simulated ------------------------------------------------------------------------------------------------


#: What is assumed, and not measured: requests a second, users who are active, and microseconds to Redis and back.
RATE, USERS, ROUND_TRIP = 100_000.0, 400_000, 200.0
SHARES = {BEARER: 0.85, SESSION: 0.10, DIGEST: 0.05}
#: What a request asks on a Cluster: two keys of revocations at the same time; or the attempts of an account, and then a
#: nonce.
CALLS = {BEARER: (2,), SESSION: (2,), DIGEST: (1, 1)}
#: How busy processes and servers are meant to be. With more they wait for one another, and with less they idle.
BUSY, REDIS_BUSY = 0.6, 0.5
#: Seconds until a replica has taken the place of a server that is gone.
FAILOVER = 2.0
#: What other work of an endpoint is simulated, in microseconds.
OWN_WORK = 500.0
FAILED = f"a Redis server is lost, for {FAILOVER:g} s"


def costs(kinds: Mapping[str, Mapping[str, float]], *, are_shared: bool = True) -> Mapping[str, Cost]:
    """The costs on a Cluster, from those that were measured with one server; without what calls cost if nothing is
    shared.

    There a request makes a call for each key of another partition. Each is taken to cost a process as much as the one
    call for the revocations of a token.
    """
    call = kinds[BEARER]["process"] - kinds[LOCAL]["process"]
    found: dict[str, Cost] = {}
    for kind, on_cluster in CALLS.items():
        calls = on_cluster if are_shared else ()
        more = (sum(calls) - round(kinds[kind]["calls"])) * call
        unknown = kinds[UNKNOWN]["process"] + more if kind == BEARER else None
        found[kind] = Cost(kinds[kind]["process"] + more, kinds[kind]["redis"], calls, unknown, renews=kind == DIGEST)
    return found


def sized(costs: Mapping[str, Cost], rate: float, **options: Any) -> Plan:
    """A plan for this rate: as many processes and servers as keep each busy as it is meant to be."""
    servers = [(share, costs[kind].redis * sum(costs[kind].calls)) for kind, share in SHARES.items()]
    plan = Plan(
        costs,
        SHARES,
        rate,
        processes=1,
        servers=max(processes_for(rate, servers, REDIS_BUSY), 3),
        users=round(USERS * rate / RATE),
        routing=Routing.HASH,
        round_trip=ROUND_TRIP,
        **{"tokens": 8_192, **options},
    )
    # More processes remember more tokens together, and then less work is left for each.
    while plan.processes < (needed := processes_for(rate, _work(plan), BUSY)):
        plan = replace(plan, processes=min(plan.processes + max((needed - plan.processes) // 4, 1), needed))
    return plan


def _work(plan: Plan) -> list[tuple[float, float]]:
    """For each kind, its share and the microseconds of a process, with as many tokens known as have room."""
    known = min(plan.tokens * plan.processes / plan.users, 1.0)
    work: list[tuple[float, float]] = []
    for kind, share in plan.shares.items():
        cost = plan.costs[kind]
        unknown = cost.process if cost.unknown is None else cost.unknown
        work.append((share, known * cost.process + (1 - known) * unknown + plan.own_work))
    return work


def scenarios(kinds: Mapping[str, Mapping[str, float]], rate: float = RATE) -> Mapping[str, Plan]:
    """The plan, and what becomes of it if something is left out, or fails."""
    plan = sized(costs(kinds), rate)
    fewer = max(plan.servers * 2 // 5, 1)
    return {
        "the plan": plan,
        "nothing is shared": sized(costs(kinds, are_shared=False), rate),
        "the proxy chooses a process by turns": replace(plan, routing=Routing.TURNS),
        "each remembers 4,096 tokens": replace(plan, tokens=4_096),
        f"{fewer} Redis servers": replace(plan, servers=fewer),
        f"each endpoint works for {OWN_WORK / 1000:g} ms": sized(costs(kinds), rate, own_work=OWN_WORK),
        "an eighth of the processes is lost": replace(plan, lost=max(plan.processes // 8, 1)),
        FAILED: replace(plan, failure=Failure(0.5, FAILOVER)),
    }


def result(plan: Plan, observed: Observed) -> Mapping[str, Any]:
    """What is kept of a simulation."""
    return {
        "processes": plan.processes,
        "busy": round(observed.process_utilization, 3),
        "servers": plan.servers,
        "redis_busy": round(observed.server_utilization, 3),
        "known": round(observed.hit_rate, 3),
        "p50": round(observed.percentile(50), 2),
        "p99": round(observed.percentile(99), 2),
        "unavailable": round(observed.unavailable_share, 4),
        "unavailable_until": round(observed.unavailable_until, 2),
        "renewed": observed.renewed,
        "behind": round(observed.queued, 2),
    }


def simulated(kinds: Mapping[str, Mapping[str, float]], rate: float = RATE) -> Mapping[str, Mapping[str, Any]]:
    """What is observed in each scenario."""
    plans = scenarios(kinds, rate)
    progress = Progress("simulation", len(plans))
    results: dict[str, Mapping[str, Any]] = {}
    for name, plan in plans.items():
        results[name] = result(plan, simulate(plan, seconds=5.0 if plan.failure else 2.0))
        progress.step()
    return results


def cost_table(inputs: Mapping[str, Any]) -> str:
    """What was measured."""
    width = max(map(len, inputs["kinds"]))
    lines = [f"{'microseconds of a processor':{width}}  process  calls  Redis for a call  of it the script"]
    for kind, cost in inputs["kinds"].items():
        redis = f"{cost['redis']:16.1f}  {cost['script']:16.1f}" if cost["calls"] else f"{'-':>16}  {'-':>16}"
        lines.append(f"{kind:{width}}  {cost['process']:7.0f}  {cost['calls']:5.1f}  {redis}")
    return "\n".join(lines)


def simulation_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """What was simulated."""
    width = max(map(len, results))
    lines = [f"{'100,000 requests a second':{width}}  processes  busy  Redis  busy  known  p50 ms  p99 ms     503"]
    lines += [
        f"{name:{width}}  {row['processes']:9}  {row['busy']:4.0%}  {row['servers']:5}  {row['redis_busy']:4.0%}  "
        f"{row['known']:5.0%}  {row['p50']:6.1f}  {row['p99']:6.1f}  {row['unavailable']:6.1%}"
        for name, row in results.items()
    ]
    return "\n".join(lines)


def capacity(*, measure: bool, rounds: int, seconds: int) -> PartResult:
    """Simulate with the costs of ``capacity.json``. With ``measure``, measure them first and write all of it there."""
    if not measure:
        inputs = json.loads(INPUTS.read_text("utf-8"))
        results = simulated(inputs["kinds"])
    elif find("redis-server") is None or not shutil.which("wrk"):
        return PartResult("The costs were not measured: redis-server or wrk is not installed.")
    else:
        inputs = measure_costs(rounds, seconds)
        results = simulated(inputs["kinds"])
        INPUTS.write_text(json.dumps({**inputs, "simulated": results}, indent=2) + "\n", "utf-8")
    tables = inputs["machine"], cost_table(inputs), simulation_table(results)
    return PartResult("\n\n".join(tables))
