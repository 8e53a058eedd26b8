"""A clock that goes when a test says so."""

from __future__ import annotations

import math

import pytest

from authguard import Basic, Guard, LoginThrottle, MemoryUsers, Rate
from authguard.testing import ManualClock, assert_denied, basic_auth, recording
from tests.testing.shop import MINTING, USERS, client_of, guard_of


def test_it_stands_until_it_is_moved() -> None:
    """It is a function of nothing that tells seconds; it goes back too."""
    clock = ManualClock(1000.0)

    seen = [clock(), clock()]
    clock.move(0.5)
    seen.append(clock())
    clock.move(-2)

    assert [*seen, clock.now] == [1000.0, 1000.0, 1000.5, 998.5]
    assert repr(clock) == "ManualClock(998.5)"


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_what_no_clock_can_do_is_an_error(seconds: float) -> None:
    """A clock at nan would compare with nothing, and let expired tokens in."""
    clock = ManualClock()

    with pytest.raises(ValueError, match="no number of seconds"):
        clock.move(seconds)
    with pytest.raises(ValueError, match="no number of seconds"):
        ManualClock(seconds)

    assert clock() == ManualClock()()


def test_one_second_after_it_expired() -> None:
    """The token is good to the last second of the leeway, and is refused with the one after."""
    clock = ManualClock()
    guard = guard_of(clock=clock, leeway=60)
    client = client_of(guard)
    clock.now = MINTING._clock()
    headers = MINTING.headers("alice", expires_in=300)

    clock.move(300 + 60 - 1)
    last = client.get("/", headers=headers).status_code
    clock.move(1)
    with recording(guard) as records:
        assert_denied(client.get("/", headers=headers), 401, reason="token.expired")

    assert (last, records[0].facts["expired_by"]) == (200, 60.0)


def test_it_is_a_monotonic_clock_too() -> None:
    """Who has no attempt left has one more after the wait."""
    clock = ManualClock()
    attempts = LoginThrottle(pair=Rate(1, 30), clock=clock)
    guard = Guard(Basic(MemoryUsers(USERS), realm="r", throttle=attempts), clock=clock, monotonic=clock)
    client = client_of(guard)

    first = client.get("/", headers=basic_auth("zoë", "wrong"))
    second = client.get("/", headers=basic_auth("zoë", "s3cret"))
    clock.move(31)
    third = client.get("/", headers=basic_auth("zoë", "s3cret"))

    assert_denied(first, 401)
    assert_denied(second, 429)
    assert third.status_code == 200
