"""The circuit breaker: closed, open and half-open."""

from __future__ import annotations

import pytest

from authguard.concurrency.circuit_breaker import FAILURE_THRESHOLD, FIRST_PAUSE, MAX_PAUSE, CircuitBreaker
from authguard.testing import ManualClock
from tests.support.forks import needs_fork, run_in_child


def make_call(breaker: CircuitBreaker, *, good: bool | None) -> None:
    """Make one call that ends in this way."""
    assert breaker.wait() == 0
    with breaker.call() as call:
        call.succeeded = good


def tripped(ticks: ManualClock) -> CircuitBreaker:
    """A breaker that has just opened."""
    breaker = CircuitBreaker(ticks)
    for _ in range(FAILURE_THRESHOLD):
        make_call(breaker, good=False)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """Consecutive failures open the breaker, and a success in between resets the count."""
    breaker = CircuitBreaker(ManualClock(1000))

    for good in [False] * (FAILURE_THRESHOLD - 1) + [True] + [False] * (FAILURE_THRESHOLD - 1):
        make_call(breaker, good=good)
    assert (breaker.open, breaker.failures, breaker.wait()) == (False, FAILURE_THRESHOLD - 1, 0)
    make_call(breaker, good=False)

    assert (breaker.open, breaker.wait()) == (True, FIRST_PAUSE)


def test_after_the_pause_one_call_probes() -> None:
    """After the pause one call probes the server, and the others wait."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with breaker.call() as call:
        assert breaker.wait() == 1
        call.succeeded = True

    assert (breaker.open, breaker.failures, breaker.wait()) == (False, 0, 0)


def test_a_failed_probe_doubles_the_pause() -> None:
    """A failed probe doubles the pause, up to a minute."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    pauses = []

    for _ in range(8):
        ticks.move(breaker.wait())
        make_call(breaker, good=False)
        pauses.append(breaker.wait())

    assert pauses == [4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE, MAX_PAUSE, MAX_PAUSE]


def test_an_abandoned_probe_is_left_to_the_next_call() -> None:
    """A probe whose client disconnected says nothing about the server, so the next call probes."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with pytest.raises(KeyError), breaker.call():
        raise KeyError
    assert (breaker.open, breaker.wait()) == (True, 0)
    make_call(breaker, good=True)

    assert not breaker.open


def test_calls_in_progress_do_not_prolong_the_pause() -> None:
    """A hundred calls that fail together with the fifth cause one pause."""
    breaker = CircuitBreaker(ManualClock(1000))
    under_way = [breaker.call() for _ in range(100)]
    trials = [one.__enter__() for one in under_way]

    for one, call in zip(under_way, trials, strict=True):
        call.succeeded = False
        one.__exit__(None, None, None)

    assert breaker.wait() == FIRST_PAUSE


def test_a_late_success_closes_it() -> None:
    """A call that began before the breaker opened, and succeeds, closes it."""
    breaker = CircuitBreaker(ManualClock(1000))
    slow = breaker.call()
    call = slow.__enter__()
    for _ in range(FAILURE_THRESHOLD):
        make_call(breaker, good=False)

    call.succeeded = True
    slow.__exit__(None, None, None)

    assert not breaker.open


def test_a_renewed_breaker_forgets_the_probe_of_its_parent() -> None:
    """A forked child never hears how that probe ended, and makes one of its own. It knows of the failures."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with breaker.call():
        breaker.renew()
        assert (breaker.open, breaker.failures, breaker.wait()) == (True, FAILURE_THRESHOLD, 0)


@needs_fork
def test_a_child_that_is_forked_during_a_probe_may_call() -> None:
    """In the parent the other callers still wait for the probe."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with breaker.call():
        in_child = run_in_child(breaker.wait)

        assert (in_child, breaker.wait()) == ("0.0", 1)
