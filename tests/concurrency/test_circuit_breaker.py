"""The circuit breaker: closed, open and half-open, and which failures count."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from authguard.concurrency.circuit_breaker import (
    FAILURE_THRESHOLD,
    FIRST_PAUSE,
    MAX_PAUSE,
    MAX_TURNS,
    CircuitBreaker,
    Question,
)
from authguard.testing import ManualClock
from tests.support.forks import needs_fork, run_in_child


def question(number: int, *, known: bool = False) -> Question:
    """A question with a topic and a network of its own."""
    return Question(f"token-{number}", f"192.0.2.{number}", known)


def from_one_network(number: int, *, known: bool = False) -> Question:
    """A question with a topic of its own, from a network that many share."""
    return Question(f"token-{number}", "192.0.2.1", known)


ONE = question(1)
KNOWN = question(1, known=True)


def make_call(breaker: CircuitBreaker, *, good: bool | None, about: Question = ONE) -> None:
    """Make one call that ends in this way."""
    assert breaker.wait(about) == 0
    with breaker.call(about) as call:
        call.succeeded = good


def fail(breaker: CircuitBreaker, questions: Iterable[Question]) -> None:
    """Make calls that fail, all that are allowed."""
    for about in questions:
        if breaker.wait(about) == 0:
            make_call(breaker, good=False, about=about)


def tripped(ticks: ManualClock) -> CircuitBreaker:
    """A breaker that has just opened for topics that are not known."""
    breaker = CircuitBreaker(ticks)
    fail(breaker, map(question, range(FAILURE_THRESHOLD)))
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """Consecutive failures open the breaker, and a success in between resets the count."""
    breaker = CircuitBreaker(ManualClock(1000))

    for good in [False] * (FAILURE_THRESHOLD - 1) + [True] + [False] * (FAILURE_THRESHOLD - 1):
        make_call(breaker, good=good, about=question(breaker.failures))
    assert (breaker.open, breaker.failures, breaker.wait(ONE)) == (False, FAILURE_THRESHOLD - 1, 0)
    make_call(breaker, good=False, about=question(99))

    assert (breaker.open, breaker.wait(ONE)) == (True, FIRST_PAUSE)


# --- which failures count ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "questions",
    [
        [Question("token", f"192.0.2.{number}") for number in range(100)],
        [from_one_network(number) for number in range(100)],
        [Question(f"token-{number}") for number in range(100)],
        [Question(f"token-{number % 4}", f"192.0.2.{number}") for number in range(100)],
        [Question(f"token-{number}", f"192.0.2.{number % 4}") for number in range(100)],
        [Question("token", "192.0.2.1", known=True) for _ in range(100)],
    ],
    ids=["one topic", "one network", "no network", "four topics", "four networks", "one known topic"],
)
def test_failures_that_one_stranger_can_cause_do_not_open_it(questions: list[Question]) -> None:
    """However often they fail: one topic, one network and one known topic count once each."""
    breaker = CircuitBreaker(ManualClock(1000))

    fail(breaker, questions)

    assert (breaker.open, breaker.open_for_known) == (False, False)
    assert breaker.failures < FAILURE_THRESHOLD


def test_a_repeated_failure_uses_up_no_network() -> None:
    """A stranger who lets one token fail in many networks does not make the failures of these networks count less."""
    breaker = CircuitBreaker(ManualClock(1000))
    fail(breaker, [Question("token", f"192.0.2.{number}") for number in range(10)])

    fail(breaker, map(question, range(2, FAILURE_THRESHOLD + 1)))

    assert (breaker.open, breaker.failures) == (True, FAILURE_THRESHOLD)


def test_failures_about_known_topics_count_from_one_network() -> None:
    """Strangers cannot make topics known, so that a server which fails for five of them fails for everybody, also if
    all clients come through one proxy."""
    breaker = CircuitBreaker(ManualClock(1000))

    fail(breaker, [from_one_network(number, known=True) for number in range(FAILURE_THRESHOLD)])

    assert (breaker.open, breaker.open_for_known) == (True, True)
    assert (breaker.wait(ONE), breaker.wait(KNOWN)) == (FIRST_PAUSE, FIRST_PAUSE)


def test_failures_about_known_and_other_topics_add_up() -> None:
    """For topics that are not known both kinds of failures count."""
    breaker = CircuitBreaker(ManualClock(1000))

    fail(breaker, [from_one_network(number, known=number > 0) for number in range(FAILURE_THRESHOLD)])

    assert (breaker.open, breaker.open_for_known) == (True, False)


def test_known_topics_are_asked_about_while_only_others_fail() -> None:
    """Strangers in many networks stop the calls for topics that nobody knows. The first success about a known topic
    allows them again."""
    breaker = tripped(ManualClock(1000))

    assert (breaker.wait(ONE), breaker.wait(KNOWN)) == (FIRST_PAUSE, 0)
    make_call(breaker, good=None, about=KNOWN)
    assert breaker.open
    make_call(breaker, good=True, about=KNOWN)

    assert (breaker.open, breaker.wait(ONE)) == (False, 0)


# --- half open --------------------------------------------------------------------------------------------------------


def test_after_the_pause_one_call_probes() -> None:
    """After the pause one call probes the server, and the others wait."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with breaker.call(ONE) as call:
        assert breaker.wait(question(2)) == 1
        call.succeeded = True

    assert (breaker.open, breaker.failures, breaker.wait(ONE)) == (False, 0, 0)


@pytest.mark.parametrize("known", [False, True])
def test_a_failed_probe_doubles_the_pause(known: bool) -> None:
    """A failed probe doubles the pause of those who sent it, up to a minute."""
    ticks = ManualClock(1000)
    breaker = CircuitBreaker(ticks)
    fail(breaker, [question(number, known=known) for number in range(FAILURE_THRESHOLD)])
    about = question(1, known=known)
    pauses = []

    for _ in range(8):
        ticks.move(breaker.wait(about))
        make_call(breaker, good=False, about=about)
        pauses.append(breaker.wait(about))

    assert pauses == [4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE, MAX_PAUSE, MAX_PAUSE]


def test_the_next_probe_is_that_of_another_network() -> None:
    """A network whose probe fails has to let the others go first, whatever the token."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)
    make_call(breaker, good=False, about=Question("a", "stranger"))
    ticks.move(FIRST_PAUSE)

    assert (breaker.wait(Question("b", "stranger")), breaker.wait(Question("c", "owner"))) == (FIRST_PAUSE, 0)


def test_the_next_probe_is_about_another_known_topic() -> None:
    """A known topic that fails as a probe does not keep the other known ones from being the next, even those from its
    own network."""
    ticks = ManualClock(1000)
    breaker = CircuitBreaker(ticks)
    fail(breaker, [from_one_network(number, known=True) for number in range(FAILURE_THRESHOLD)])
    ticks.move(FIRST_PAUSE)
    make_call(breaker, good=False, about=from_one_network(0, known=True))
    ticks.move(FIRST_PAUSE)

    assert breaker.wait(from_one_network(0, known=True)) == FIRST_PAUSE
    make_call(breaker, good=True, about=from_one_network(1, known=True))
    assert (breaker.open, breaker.open_for_known) == (False, False)


def test_many_networks_with_failed_probes_are_not_all_remembered() -> None:
    """The memory of failed probes is bounded, and forgets the oldest one first."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)

    for number in range(MAX_TURNS + 1):
        ticks.move(FIRST_PAUSE)
        make_call(breaker, good=False, about=question(number))

    assert len(breaker._others.failed_probes) == MAX_TURNS
    assert (breaker.wait(question(MAX_TURNS)), breaker.wait(question(0))) == (2 * FIRST_PAUSE, FIRST_PAUSE)


def test_an_abandoned_probe_is_left_to_the_next_call() -> None:
    """A probe whose client disconnected says nothing about the server, so the next call probes."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with pytest.raises(KeyError), breaker.call(ONE):
        raise KeyError
    assert (breaker.open, breaker.wait(ONE)) == (True, 0)
    make_call(breaker, good=True)

    assert not breaker.open


def test_calls_in_progress_do_not_prolong_the_pause() -> None:
    """A hundred calls that fail together with the fifth cause one pause."""
    breaker = CircuitBreaker(ManualClock(1000))
    under_way = [breaker.call(question(number)) for number in range(100)]
    trials = [one.__enter__() for one in under_way]

    for one, call in zip(under_way, trials, strict=True):
        call.succeeded = False
        one.__exit__(None, None, None)

    assert (breaker.wait(ONE), breaker.failures) == (FIRST_PAUSE, FAILURE_THRESHOLD)


def test_a_late_success_closes_it() -> None:
    """A call that began before the breaker opened, and succeeds, closes it."""
    breaker = CircuitBreaker(ManualClock(1000))
    slow = breaker.call(question(99))
    call = slow.__enter__()
    fail(breaker, map(question, range(FAILURE_THRESHOLD)))
    assert breaker.open

    call.succeeded = True
    slow.__exit__(None, None, None)

    assert not breaker.open


def test_a_renewed_breaker_forgets_the_probe_of_its_parent() -> None:
    """A forked child never hears how that probe ended, and makes one of its own. It knows of the failures."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with breaker.call(ONE):
        breaker.renew()
        assert (breaker.open, breaker.failures, breaker.wait(ONE)) == (True, FAILURE_THRESHOLD, 0)


@needs_fork
def test_a_child_that_is_forked_during_a_probe_may_call() -> None:
    """In the parent the other callers still wait for the probe."""
    ticks = ManualClock(1000)
    breaker = tripped(ticks)
    ticks.move(FIRST_PAUSE)

    with breaker.call(ONE):
        in_child = run_in_child(lambda: breaker.wait(ONE))

        assert (in_child, breaker.wait(ONE)) == ("0.0", 1)
