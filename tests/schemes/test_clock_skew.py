"""How far the clock of an issuer is off: figures for health, and at most one warning for each window."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from authguard import ANY_ISSUER, Bearer
from authguard.model import Moment
from authguard.schemes.bearer.clock_skew import MIN_TOKENS, WINDOW, ClockSkew
from authguard.testing import ManualClock
from tests.support.clock import NOW
from tests.support.schemes.bearer import bearer, issuer, outcome
from tests.support.tokens import ISSUER, mint

NAME = "https://login.example/"


def note_ages(clock_skew: ClockSkew, *ages: float, leeway: float = 60) -> None:
    """Note tokens of these ages."""
    for age in ages:
        clock_skew.observe(NOW - age, Moment(NOW, leeway))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings about clocks."""
    return [record.getMessage() for record in caplog.records if vars(record).get("authguard.event") == "drift"]


def test_nothing_is_known_of_an_issuer_without_tokens() -> None:
    """Without a token the health has neither a smallest nor a typical age."""
    assert ClockSkew(NAME, ManualClock(1000)).health() == {
        "tokens": 0,
        "smallest": None,
        "typical": None,
        "tolerated": 0,
    }


def test_the_smallest_and_the_typical_age_are_reported() -> None:
    """The smallest age is exact. The typical age is the upper bound of the histogram class that holds the median."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    note_ages(clock_skew, 0.25, 4, 45, 50, 3000)

    assert clock_skew.health() == {"tokens": 5, "smallest": 0.25, "typical": 60.0, "tolerated": 0}


@pytest.mark.parametrize(("age", "typical"), [(-3, 0.0), (0, 1.0), (0.5, 1.0), (86_399, 86_400.0), (10**7, 86_400.0)])
def test_the_histogram_has_two_ends(age: float, typical: float) -> None:
    """The first class holds tokens from the future, and the last one holds those older than a day."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    note_ages(clock_skew, age)

    assert clock_skew.health()["typical"] == typical


@pytest.mark.parametrize("iat", [None, "1800000000", True, [1], 10**400, -(10**400), float("inf"), 1.8e12])
def test_an_invalid_iat_counts_for_nothing(iat: Any) -> None:
    """An ``iat`` that is no number, is in milliseconds, or does not fit into a float, is ignored."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    clock_skew.observe(iat, Moment(NOW, 60))

    assert clock_skew.health()["tokens"] == 0


def test_an_issuer_that_is_ahead_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An issuer that is ahead by half the leeway or more is logged once for each window, with the number of seconds."""
    ticks = ManualClock(1000)
    clock_skew = ClockSkew(NAME, ticks)

    note_ages(clock_skew, 5, -29.9)
    assert warnings(caplog) == []
    note_ages(clock_skew, -41.2, -45)
    assert warnings(caplog) == [f"issuer {NAME} is about 41 s ahead; leeway is 60 s"]
    ticks.move(WINDOW)
    note_ages(clock_skew, -45, -46)

    assert warnings(caplog)[1:] == [f"issuer {NAME} is about 45 s ahead; leeway is 60 s"]
    assert vars(caplog.records[0])["authguard.ahead"] == pytest.approx(41.2)
    assert vars(caplog.records[0])["authguard.issuer"] == NAME
    assert caplog.records[0].levelno == logging.WARNING


def test_without_leeway_every_token_from_the_future_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With a leeway of 0 a token from the future is logged, because it is rejected. One issued at this moment is
    not."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    note_ages(clock_skew, 0, leeway=0)
    assert warnings(caplog) == []
    note_ages(clock_skew, -1, leeway=0)

    assert warnings(caplog) == [f"issuer {NAME} is about 1 s ahead; leeway is 0 s"]


def test_tokens_used_late_are_no_sign_of_a_clock_that_is_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Old tokens say nothing about the clock if the issuer has young tokens too."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))
    note_ages(clock_skew, 0.5, *[600] * MIN_TOKENS)

    clock_skew.observe_leeway_used({"exp": 50}, Moment(NOW, 60))

    assert (warnings(caplog), clock_skew.health()["tolerated"]) == ([], 1)


def test_an_issuer_that_may_be_behind_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An issuer is logged as behind, once, if after enough tokens none is young and some were used after their end."""
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    note_ages(clock_skew, *[44] * (MIN_TOKENS - 1))
    clock_skew.observe_leeway_used({"exp": 41}, Moment(NOW, 60))
    assert warnings(caplog) == []
    note_ages(clock_skew, 44)
    clock_skew.observe_leeway_used({"nbf": 20}, Moment(NOW, 60))
    clock_skew.observe_leeway_used({"exp": 30}, Moment(NOW, 60))

    assert warnings(caplog) == [
        f"issuer {NAME} may be up to 44 s behind: tokens are used 41 s after they expired; leeway is 60 s"
    ]
    assert clock_skew.health()["tolerated"] == 3


def test_a_window_and_the_one_before_are_kept() -> None:
    """The figures cover the current and the previous window, which is one to two hours."""
    ticks = ManualClock(1000)
    clock_skew = ClockSkew(NAME, ticks)

    note_ages(clock_skew, -7)
    ticks.move(WINDOW)
    note_ages(clock_skew, 3)
    assert clock_skew.health()["smallest"] == -7
    ticks.move(WINDOW)

    assert clock_skew.health() == {"tokens": 1, "smallest": 3.0, "typical": 5.0, "tolerated": 0}


def test_after_a_long_pause_the_figures_are_empty() -> None:
    """After a pause of two windows, the figures from before are gone."""
    ticks = ManualClock(1000)
    clock_skew = ClockSkew(NAME, ticks)
    note_ages(clock_skew, -7)

    ticks.move(2 * WINDOW)

    assert clock_skew.health()["tokens"] == 0


def test_a_log_handler_that_raises_costs_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the log handler raises while a warning is written, ``note`` still returns."""

    def fails(record: logging.LogRecord) -> bool:
        raise OSError

    logger = logging.getLogger("authguard")
    monkeypatch.setattr(logger, "filters", [fails])
    clock_skew = ClockSkew(NAME, ManualClock(1000))

    note_ages(clock_skew, -59)

    assert clock_skew.health()["tokens"] == 1


def figures(scheme: Bearer) -> Any:
    """The figures of all issuers of a scheme."""
    return scheme.health()["clocks"]


def test_the_scheme_reports_figures_by_issuer(caplog: pytest.LogCaptureFixture) -> None:
    """Each token with a valid signature counts, whether its claims are accepted, tolerated or rejected."""
    scheme = bearer(issuer(), issuer(name="https://other.example/"), clock=ManualClock(1000))

    for iat in (NOW - 20, NOW + 10, NOW + 70):
        outcome(scheme, mint(iat=iat))
    outcome(scheme, mint(exp=NOW - 2, iat=NOW - 100))
    outcome(scheme, mint() + "AAAA")

    assert figures(scheme) == {
        ISSUER: {"tokens": 4, "smallest": -70.0, "typical": 0.0, "tolerated": 2},
        "https://other.example/": {"tokens": 0, "smallest": None, "typical": None, "tolerated": 0},
    }
    assert warnings(caplog) == [f"issuer {ISSUER} is about 70 s ahead; leeway is 60 s"]


def test_any_issuer_has_figures_too() -> None:
    """The figures of ANY_ISSUER are listed under its name."""
    scheme = bearer(issuer(name=ANY_ISSUER))

    outcome(scheme, mint())

    assert figures(scheme)["ANY_ISSUER"]["tokens"] == 1
