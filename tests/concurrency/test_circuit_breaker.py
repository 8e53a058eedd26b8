"""A circuit breaker: closed, open, half open."""

from __future__ import annotations

import pytest

from authguard.concurrency.circuit_breaker import FAILURE_THRESHOLD, FIRST_PAUSE, MAX_PAUSE, CircuitBreaker
from authguard.testing import ManualClock
from tests.support.forks import needs_fork, run_in_child


def called(breaker: CircuitBreaker, *, good: bool | None) -> None:
    """One call, and how it went."""
    assert breaker.wait() == 0
    with breaker.call() as call:
        call.succeeded = good


def tripped(ticks: ManualClock) -> CircuitBreaker:
    """A breaker that has just opened."""
    breaker = CircuitBreaker(ticks)
    for _ in range(FAILURE_THRESHOLD):
        called(breaker, good=False)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """The last of so many; a success in between begins the count anew."""
    breaker = CircuitBreaker(ManualClock(1000))

    for good in [False] * (FAILURE_THRESHOLD - 1) + [True] + [False] * (FAILURE_THRESHOLD - 1):
        called(breaker, good=good)
    assert (breaker.open, breaker.failures, breaker.wait()) == (False, FAILURE_THRESHOLD - 1, 0)
    called(breaker, good=False)

    assert (breaker.open, breaker.wait()) == (True, FIRST_PAUSE)


def test_after_the_pause_one_is_let_by_on_trial() -> None:
    """Others wait meanwhile."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with breaker.call() as call:
        assert breaker.wait() == 1
        call.succeeded = True

    assert (breaker.open, breaker.failures, breaker.wait()) == (False, 0, 0)


def test_a_trial_that_fails_opens_it_for_twice_as_long() -> None:
    """Up to a minute."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    pauses = []

    for _ in range(8):
        ticks.move(breaker.wait())
        called(breaker, good=False)
        pauses.append(breaker.wait())

    assert pauses == [4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE, MAX_PAUSE, MAX_PAUSE]


def test_a_trial_that_is_abandoned_leaves_it_to_the_next_one() -> None:
    """Its client is gone: that says nothing about the server, and must not keep everybody out."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with pytest.raises(KeyError), breaker.call():
        raise KeyError
    assert (breaker.open, breaker.wait()) == (True, 0)
    called(breaker, good=True)

    assert not breaker.open


def test_calls_that_were_under_way_do_not_open_it_further() -> None:
    """A hundred that fail with the fifth are one reason to pause."""
    breaker = CircuitBreaker(ManualClock(1000))
    under_way = [breaker.call() for _ in range(100)]
    trials = [one.__enter__() for one in under_way]

    for one, call in zip(under_way, trials, strict=True):
        call.succeeded = False
        one.__exit__(None, None, None)

    assert breaker.wait() == FIRST_PAUSE


def test_a_late_success_closes_it() -> None:
    """Who began before it opened and was answered knows best."""
    breaker = CircuitBreaker(ManualClock(1000))
    slow = breaker.call()
    call = slow.__enter__()
    for _ in range(FAILURE_THRESHOLD):
        called(breaker, good=False)

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
