"""The simulation of clusters: it agrees with queueing theory where that has an answer, and loses no request."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from benchmarks.cluster_simulation import (
    Cost,
    Failure,
    Observed,
    Plan,
    Routing,
    processes_for,
    simulate,
    waiting_time,
)

#: One process that needs a millisecond for each request, and shares nothing.
ALONE = Plan({"a": Cost(1000.0)}, {"a": 1.0}, 100.0, 1, 1, 1000, Routing.HASH)
#: Ten processes and four servers.
CLUSTER = Plan(
    {"token": Cost(200.0, 20.0, (2,), 400.0), "digest": Cost(200.0, 20.0, (1, 1), renews=True)},
    {"token": 0.9, "digest": 0.1},
    20_000.0,
    10,
    4,
    20_000,
    Routing.HASH,
)


def mean_wait(observed: Observed, service: float) -> float:
    """The mean time that requests have waited, in seconds."""
    return fmean(observed.latencies) - service


@pytest.mark.parametrize("utilization", [0.3, 0.6, 0.8])
def test_the_wait_for_one_process_is_that_of_queueing_theory(utilization: float) -> None:
    """Within 5 % of Pollaczek-Khinchine for M/D/1, at low and at high utilization."""
    rate = utilization / 0.001

    observed = simulate(replace(ALONE, rate=rate), seconds=200, warm_up=5)

    assert mean_wait(observed, 0.001) == pytest.approx(waiting_time(rate, 0.001), rel=0.05)
    assert observed.process_utilization == pytest.approx(utilization, rel=0.02)


def test_the_wait_for_one_server_is_that_of_queueing_theory() -> None:
    """A Redis server is such a queue too: many processes with next to nothing to do, and one server."""
    plan = Plan({"a": Cost(0.001, 100.0, (1,))}, {"a": 1.0}, 6000.0, 50, 1, 1000, Routing.HASH, round_trip=0.0)

    observed = simulate(plan, seconds=20, warm_up=1)

    assert mean_wait(observed, 0.0001) == pytest.approx(waiting_time(6000.0, 0.0001), rel=0.05)
    assert observed.server_utilization == pytest.approx(0.6, rel=0.02)


@pytest.mark.parametrize(("calls", "milliseconds"), [((), 1.0), ((1,), 1.3), ((3,), 1.3), ((1, 1), 1.6)])
def test_calls_at_the_same_time_take_one_round_trip(calls: tuple[int, ...], milliseconds: float) -> None:
    """Without a queue, a request takes its work, and 0.3 ms for each call that follows another one's reply."""
    plan = replace(ALONE, costs={"a": Cost(1000.0, 100.0, calls)}, rate=1.0, servers=1000)

    observed = simulate(plan, seconds=20)

    assert observed.percentile(50) == pytest.approx(milliseconds)


def test_every_request_is_answered_once() -> None:
    """With a server that is lost, each request is granted or a 503, and none twice."""
    plan = replace(CLUSTER, failure=Failure(0.2, 0.5))

    with_failure, without = (simulate(each, seconds=2) for each in (plan, CLUSTER))

    requests = [len(each.latencies) + each.unavailable for each in (with_failure, without)]
    assert requests[0] == requests[1]
    assert with_failure.unavailable > 0
    assert without.unavailable == 0


def test_a_seed_gives_one_result() -> None:
    """Two runs agree in every latency, and another seed gives others."""
    runs = [simulate(CLUSTER, seconds=0.2, seed=seed).latencies for seed in (1, 1, 2)]

    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_by_turns_a_process_knows_few_tokens() -> None:
    """20,000 users are too many for a cache of 4,096 tokens, and by a hash each process has only 2,000 of them."""
    rates = [simulate(replace(CLUSTER, routing=each), seconds=1).hit_rate for each in (Routing.HASH, Routing.TURNS)]

    assert rates[0] == 1.0
    assert 0.1 < rates[1] < 0.25


def test_a_server_that_is_lost_is_an_outage_for_its_keys_only() -> None:
    """503 from the deadline of the first call on, until the last process has tried again; then nonces are renewed."""
    failure = Failure(0.5, 1.0, deadline=0.2, probe=0.5)

    observed = simulate(replace(CLUSTER, failure=failure), seconds=3)

    assert 0.05 < observed.unavailable_share < 0.5
    assert 0.2 <= observed.slowest_unavailable < 0.25
    assert 1.5 < observed.unavailable_until < 2.1
    assert observed.renewed > 0
    assert observed.percentile(99) < 5


def test_processes_that_are_lost_leave_their_users_to_the_others() -> None:
    """The others are busier, and forget nothing: only what the lost ones knew must be verified again."""
    plan = replace(CLUSTER, tokens=8192)

    before, after = (simulate(each, seconds=2) for each in (plan, replace(plan, lost=2)))

    assert after.process_utilization > before.process_utilization
    assert 0.9 < after.hit_rate < 1.0
    assert after.unavailable == 0


def test_a_server_with_too_much_to_do_falls_behind() -> None:
    """With one server for 38,000 calls a second of 20 microseconds each, all wait until the end of the load."""
    observed = simulate(replace(CLUSTER, servers=1, rate=30_000.0, processes=20), seconds=1)

    assert observed.server_utilization > 0.99
    assert observed.queued > 0.1
    assert observed.percentile(99) > 100


def test_as_many_processes_as_the_work_needs() -> None:
    """A thousand requests a second of 300 microseconds each keep one process busy for 60 % of half a second."""
    assert processes_for(1000, [(1.0, 300.0)], 0.6) == 1
    assert processes_for(1000, [(0.5, 300.0), (0.5, 900.0)], 0.6) == 1
    assert processes_for(100_000, [(1.0, 300.0)], 0.6) == 50
