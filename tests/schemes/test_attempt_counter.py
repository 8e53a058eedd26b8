"""The keys by which Digest counts attempts are kept, and those of one login are never taken for those of another."""

from __future__ import annotations

from itertools import permutations

from authguard.schemes.digest.attempt_counter import AttemptCounter, Counted
from authguard.schemes.throttle import LoginThrottle
from tests.support.clock import NOW


class PatientThrottle(LoginThrottle):
    """A throttle with which every login must be checked."""

    def passes_now(self, keys: object) -> bool:
        return False


def throttle() -> LoginThrottle:
    """A throttle that counts attempts at a name as attempts at its hash too."""
    made = PatientThrottle(clock=lambda: NOW)
    made.count_hashed_names("reversed", lambda name: name[::-1])
    return made


LOGINS: list[Counted] = [
    ("alice", "192.0.2.7", "alice"),
    ("alice", "192.0.2.7", "Alice"),
    ("alice", "192.0.2.7", None),
    ("bob", "192.0.2.7", "alice"),
    ("alice", "192.0.2.8", "alice"),
    ("alice", None, "alice"),
    ("None", None, None),
    ("alice", "None", "alice"),
    # Only the name of an account may contain a line feed.
    ("alice\nalice", "192.0.2.7", "1"),
    ("alice", "192.0.2.7", "1"),
    ("\udcff", "192.0.2.7", "alice"),
]


def test_kept_keys_belong_to_one_name_one_address_and_one_spelling() -> None:
    """They are those that the throttle makes anew, whoever has logged in before."""
    for order in list(permutations(LOGINS, 3))[::7]:
        counter, limit = (made := AttemptCounter(throttle())), made._throttle

        for _ in range(2):
            assert [counter.keys_to_check(login) for login in order] == [limit.keys(*login) for login in order]


def test_keys_are_made_once() -> None:
    """The second login gets the same object."""
    counter = AttemptCounter(throttle())
    first = counter.keys_to_check(LOGINS[0])

    assert counter.keys_to_check(LOGINS[0]) is first is not None


def test_no_name_is_kept_in_clear() -> None:
    """Keys are kept under a keyed hash, and are keyed hashes themselves."""
    counter = AttemptCounter(LoginThrottle(clock=lambda: NOW))
    counter.keys_to_check(("alice-smith", "192.0.2.7", "alice-smith"))
    kept = counter._throttle._kept_keys

    shown = [repr((key, value.pair, [bucket.key for bucket in value.buckets])) for key, value in kept._young.items()]
    assert len(shown) == 1
    assert "alice" not in shown[0]
    assert "192" not in shown[0]
