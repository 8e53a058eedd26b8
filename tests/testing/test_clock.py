"""``ManualClock`` moves only when a test moves it."""

from __future__ import annotations

import math
import time

import pytest

from authguard import Basic, Bearer, Guard, LoginThrottle, MemoryUsers, Rate
from authguard.testing import ManualClock, TestIssuer, assert_denied, basic_auth, recording
from tests.testing.shop import ISSUER, USERS, client_of, guard_of


def test_it_stays_until_it_is_moved() -> None:
    """It may be moved back too."""
    clock = ManualClock(1000.0)

    readings = [clock(), clock()]
    clock.move(0.5)
    readings.append(clock())
    clock.move(-2)

    assert [*readings, clock.now] == [1000.0, 1000.0, 1000.5, 998.5]
    assert repr(clock) == "ManualClock(998.5)"


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_infinity_and_nan_are_an_error(seconds: float) -> None:
    """No comparison with nan is true, so a clock at nan would accept expired tokens."""
    clock = ManualClock()

    with pytest.raises(ValueError, match="not a finite number of seconds"):
        clock.move(seconds)
    with pytest.raises(ValueError, match="not a finite number of seconds"):
        ManualClock(seconds)

    assert clock() == ManualClock()()


def test_a_token_is_denied_one_second_after_the_leeway() -> None:
    """It is valid up to the last second of the leeway."""
    clock = ManualClock()
    guard = guard_of(clock=clock, leeway=60)
    client = client_of(guard)
    clock.now = ISSUER._clock()
    headers = ISSUER.headers("alice", expires_in=300)

    clock.move(300 + 60 - 1)
    last = client.get("/", headers=headers).status_code
    clock.move(1)
    with recording(guard) as records:
        assert_denied(client.get("/", headers=headers), 401, reason="token.expired")

    assert (last, records[0].facts["expired_by"]) == (200, 60.0)


def test_it_is_a_monotonic_clock_too() -> None:
    """After the wait another login is allowed."""
    clock = ManualClock()
    throttle = LoginThrottle(pair=Rate(1, 30), clock=clock)
    guard = Guard(Basic(MemoryUsers(USERS), realm="r", throttle=throttle), clock=clock, monotonic=clock)
    client = client_of(guard)

    first = client.get("/", headers=basic_auth("zoë", "wrong"))
    second = client.get("/", headers=basic_auth("zoë", "s3cret"))
    clock.move(31)
    third = client.get("/", headers=basic_auth("zoë", "s3cret"))

    assert_denied(first, 401)
    assert_denied(second, 429)
    assert third.status_code == 200


@pytest.mark.parametrize("built", ["before", "inside"])
def test_a_frozen_clock_of_a_library_is_the_default_clock(built: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R005: freezegun puts a function in the place of ``time.time``; a token that expired two hours ago is refused."""
    frozen = ManualClock(1_767_268_800.0)

    def build() -> tuple[TestIssuer, Guard]:
        issuer = TestIssuer()
        return issuer, Guard(Bearer(issuer.as_issuer(), realm="r"))

    built_before = build()
    with monkeypatch.context() as patch, recording(built_before[1]) as records:
        patch.setattr(time, "time", frozen)
        issuer, guard = built_before if built == "before" else build()
        client, headers = client_of(guard), issuer.headers("alice", expires_in=600)
        fresh = client.get("/", headers=headers).status_code
        frozen.move(600 + 7200)
        late = client.get("/", headers=headers).status_code

    assert (fresh, late) == (200, 401)
    assert [record.reason for record in records] == ([None, "token.expired"] if built == "before" else [])
