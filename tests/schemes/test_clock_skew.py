"""How far an issuer's clock is off: told in figures, and in one warning a window."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from authguard import ANY_ISSUER, Bearer
from authguard.model import Moment
from authguard.schemes.bearer.clock_skew import ENOUGH, WINDOW, ClockSkew
from authguard.testing import ManualClock
from tests.support.clock import NOW
from tests.support.schemes.bearer import bearer, issuer, outcome
from tests.support.tokens import ISSUER, mint

NAME = "https://login.example/"


def noted(clock_skew: ClockSkew, *ages: float, leeway: float = 60) -> None:
    """Tokens of these ages."""
    for age in ages:
        clock_skew.note(NOW - age, Moment(NOW, leeway))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told of clocks."""
    return [record.getMessage() for record in caplog.records if vars(record).get("authguard.event") == "drift"]


def test_nothing_is_known_of_an_issuer_without_tokens() -> None:
    """Neither a smallest nor a typical age."""
    assert ClockSkew(NAME, ManualClock(1000)).health() == {
        "tokens": 0,
        "smallest": None,
        "typical": None,
        "tolerated": 0,
    }


def test_the_smallest_and_the_typical_age_are_told() -> None:
    """The one to the millisecond, the other by the edge that half of the tokens lie below."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    noted(clock_skew, 0.25, 4, 45, 50, 3000)

    assert clock_skew.health() == {"tokens": 5, "smallest": 0.25, "typical": 60.0, "tolerated": 0}


@pytest.mark.parametrize(("age", "typical"), [(-3, 0.0), (0, 1.0), (0.5, 1.0), (86_399, 86_400.0), (10**7, 86_400.0)])
def test_the_histogram_has_two_ends(age: float, typical: float) -> None:
    """What comes from the future is below 0; what is older than a day is a day old."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    noted(clock_skew, age)

    assert clock_skew.health()["typical"] == typical


@pytest.mark.parametrize("iat", [None, "1800000000", True, [1], 10**400, -(10**400), float("inf"), 1.8e12])
def test_what_is_no_stamp_is_no_age(iat: Any) -> None:
    """A claim of another type, milliseconds, and numbers that no float can hold; they cost no request its answer."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    clock_skew.note(iat, Moment(NOW, 60))

    assert clock_skew.health()["tokens"] == 0


def test_an_issuer_that_is_ahead_is_told_by_how_much(caplog: pytest.LogCaptureFixture) -> None:
    """Once a window, when it nears the leeway: that is at half of it."""
    ticks = ManualClock(1000)
    clock_skew = ClockSkew(NAME, ticks)

    noted(clock_skew, 5, -29.9)
    assert warned(caplog) == []
    noted(clock_skew, -41.2, -45)
    assert warned(caplog) == [f"issuer {NAME} is about 41 s ahead; leeway is 60 s"]
    ticks.move(WINDOW)
    noted(clock_skew, -45, -46)

    assert warned(caplog)[1:] == [f"issuer {NAME} is about 45 s ahead; leeway is 60 s"]
    assert vars(caplog.records[0])["authguard.ahead"] == pytest.approx(41.2)
    assert vars(caplog.records[0])["authguard.issuer"] == NAME
    assert caplog.records[0].levelno == logging.WARNING


def test_without_a_leeway_any_token_from_the_future_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """For it is refused; one that was issued this very moment is none."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    noted(clock_skew, 0, leeway=0)
    assert warned(caplog) == []
    noted(clock_skew, -1, leeway=0)

    assert warned(caplog) == [f"issuer {NAME} is about 1 s ahead; leeway is 0 s"]


def test_tokens_used_late_are_no_sign_of_a_clock_that_is_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Where some are young, the issuer is behind by no more than those are old."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))
    noted(clock_skew, 0.5, *[600] * ENOUGH)

    clock_skew.tolerate({"exp": 50}, Moment(NOW, 60))

    assert (warned(caplog), clock_skew.health()["tolerated"]) == ([], 1)


def test_an_issuer_that_may_be_behind_is_told_as_that(caplog: pytest.LogCaptureFixture) -> None:
    """None of its tokens is young, and they are in use after their end: once, and only after some tokens."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    noted(clock_skew, *[44] * (ENOUGH - 1))
    clock_skew.tolerate({"exp": 41}, Moment(NOW, 60))
    assert warned(caplog) == []
    noted(clock_skew, 44)
    clock_skew.tolerate({"nbf": 20}, Moment(NOW, 60))
    clock_skew.tolerate({"exp": 30}, Moment(NOW, 60))

    assert warned(caplog) == [
        f"issuer {NAME} may be up to 44 s behind: tokens are in use 41 s after their end; leeway is 60 s"
    ]
    assert clock_skew.health()["tolerated"] == 3


def test_a_window_and_the_one_before_are_kept() -> None:
    """And no more, whatever comes: the figures are those of one to two hours."""
    ticks = ManualClock(1000)
    clock_skew = ClockSkew(NAME, ticks)

    noted(clock_skew, -7)
    ticks.move(WINDOW)
    noted(clock_skew, 3)
    assert clock_skew.health()["smallest"] == -7
    ticks.move(WINDOW)

    assert clock_skew.health() == {"tokens": 1, "smallest": 3.0, "typical": 5.0, "tolerated": 0}


def test_after_a_long_rest_nothing_old_is_told() -> None:
    """What was before the rest is not the window before."""
    ticks = ManualClock(1000)
    clock_skew = ClockSkew(NAME, ticks)
    noted(clock_skew, -7)

    ticks.move(2 * WINDOW)

    assert clock_skew.health()["tokens"] == 0


def test_a_handler_that_raises_costs_nobody_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is still judged."""

    def fails(record: logging.LogRecord) -> bool:
        raise OSError

    logger = logging.getLogger("authguard")
    monkeypatch.setattr(logger, "filters", [fails])
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    noted(clock_skew, -59)

    assert clock_skew.health()["tokens"] == 1


def clocks(scheme: Bearer) -> Any:
    """The figures of its issuers."""
    return scheme.health()["clocks"]


def test_the_scheme_tells_them_by_issuer(caplog: pytest.LogCaptureFixture) -> None:
    """Of each token whose signature is right: those that are accepted, tolerated and refused by their claims."""
    scheme = bearer(issuer(), issuer(name="https://other.example/"), clock=ManualClock(1000))

    for iat in (NOW - 20, NOW + 10, NOW + 70):
        outcome(scheme, mint(iat=iat))
    outcome(scheme, mint(exp=NOW - 2, iat=NOW - 100))
    outcome(scheme, mint() + "AAAA")

    assert clocks(scheme) == {
        ISSUER: {"tokens": 4, "smallest": -70.0, "typical": 0.0, "tolerated": 2},
        "https://other.example/": {"tokens": 0, "smallest": None, "typical": None, "tolerated": 0},
    }
    assert warned(caplog) == [f"issuer {ISSUER} is about 70 s ahead; leeway is 60 s"]


def test_any_issuer_has_figures_too() -> None:
    """Under the word for it."""
    scheme = bearer(issuer(name=ANY_ISSUER))

    outcome(scheme, mint())

    assert clocks(scheme)["ANY_ISSUER"]["tokens"] == 1
