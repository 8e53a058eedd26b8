"""The verification cache: short, bounded, and only for passwords that were right."""

from __future__ import annotations

import pytest

from authguard.errors import ConfigurationError
from authguard.schemes.password_verifier import VerificationCache
from authguard.testing import ManualClock


def test_an_entry_lives_for_its_seconds() -> None:
    """An entry is found until its seconds are over, and other keys are not found."""
    clock = ManualClock(1000)
    remembered = VerificationCache(seconds=60, clock=clock)
    remembered.add(b"fit")

    clock.move(59.9)
    before = remembered.has(b"fit"), remembered.has(b"other")
    clock.move(0.1)

    assert (before, remembered.has(b"fit")) == ((True, False), False)


def test_a_look_up_does_not_prolong_an_entry() -> None:
    """A look-up does not prolong an entry. Otherwise a client that asks often would never be hashed again."""
    clock = ManualClock(1000)
    remembered = VerificationCache(seconds=60, clock=clock)
    remembered.add(b"fit")

    known = []
    for _ in range(7):
        known.append(remembered.has(b"fit"))
        clock.move(10)

    assert known == [True] * 6 + [False]


def test_it_is_bounded() -> None:
    """A full cache drops its oldest entry."""
    remembered = VerificationCache(seconds=60, most=8, clock=ManualClock(1000))
    for number in range(100):
        remembered.add(b"%d" % number)

    known = [number for number in range(100) if remembered.has(b"%d" % number)]

    assert len(known) <= 8
    assert known[-4:] == [96, 97, 98, 99]


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("nan"), float("inf"), True, "60"])
def test_it_is_short(seconds: float) -> None:
    """The time to keep an entry is above zero and at most an hour. The error names the argument of ``Basic``."""
    with pytest.raises(ConfigurationError) as caught:
        VerificationCache(seconds=seconds, clock=ManualClock(1000))

    assert caught.value.argument == "remember"
