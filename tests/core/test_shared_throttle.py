"""The schemes of a guard share one login throttle, so that ten attempts are ten, by whatever scheme and spelling."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from authguard.core.guard import Guard
from authguard.model import Accepted, Rejected
from authguard.schemes.basic import Basic
from authguard.schemes.digest.scheme import Digest
from authguard.schemes.throttle import DefaultThrottle, LoginThrottle
from authguard.testing import ManualClock
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import ALICE, Users, basic_scheme, log_in
from tests.support.schemes.digest import (
    DigestAccounts,
    answer_challenge,
    authenticate,
    challenges,
    digest_hash,
    digest_scheme,
)

FORMS = ["basic", "digest", "digest by hash"]


def accounts_by_two_hashes() -> DigestAccounts:
    """A store that finds each account by the hashes of its name by both algorithms."""
    accounts = DigestAccounts(finds_hashed=True)
    accounts.hashes |= {digest_hash("MD5", name.encode(), "orders"): name for name in accounts.accounts}
    return accounts


class TwoDoors:
    """A guard with Basic and Digest for the same accounts. Digest takes hashed names."""

    def __init__(self, accounts: Any = None, **digest: Any) -> None:
        self.basic = basic_scheme(Users(ALICE))
        self.digest = digest_scheme(accounts or DigestAccounts(finds_hashed=True), **digest)
        self.guard = Guard(self.digest, self.basic, log=False)

    async def guess(self, form: str, name: str, password: str = "wrong", algorithm: str = "SHA-256") -> bool:
        """Whether a guess is verified. It is refused otherwise."""
        if form == "basic":
            outcome = await log_in(self.basic, name, password)
        else:
            offers = {dict(each.params)["algorithm"]: each for each in challenges(self.digest)}
            params = answer_challenge(offers[algorithm], password, name)
            if form == "digest by hash":
                params |= {"username": digest_hash(algorithm, name.encode(), "orders"), "userhash": "true"}
            outcome = await authenticate(self.digest, params)
        if isinstance(outcome, Accepted):
            return True
        assert isinstance(outcome, Rejected)
        return outcome.reason.code != "attempts.exceeded"


@pytest.mark.parametrize("forms", list(permutations(FORMS)), ids=", ".join)
@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_ten_guesses_are_ten_by_all_schemes_together(forms: tuple[str, ...], name: str) -> None:
    """In whatever order a client tries Basic, Digest, and Digest by the hash of the name, ten guesses are verified. A
    name that nobody has gets the same answers, so that a 429 does not tell which names exist."""
    doors = TwoDoors()

    verified = [await doors.guess(form, name) for form in forms for _ in range(12)]

    assert verified == [True] * 10 + [False] * 26


async def test_guesses_by_turns_are_ten() -> None:
    """It does not help to change the form with each guess."""
    doors = TwoDoors()

    verified = [await doors.guess(FORMS[number % 3], "alice") for number in range(30)]

    assert verified == [True] * 10 + [False] * 20


async def test_guesses_at_a_hash_say_nothing_about_another_algorithm() -> None:
    """Guesses do not tell that two hashes, by two algorithms, are of one name that exists: whether anybody has the name
    or not, each hash has ten attempts, and the name itself has none left after either."""
    answers = []
    for name in ("alice", "nobody"):
        doors = TwoDoors(accounts_by_two_hashes(), algorithms=("SHA-256", "MD5"))
        verified = [
            await doors.guess("digest by hash", name, algorithm=algorithm)
            for algorithm in ("SHA-256", "MD5")
            for _ in range(12)
        ]
        answers.append([*verified, await doors.guess("digest", name), await doors.guess("basic", name)])

    assert answers[0] == answers[1]
    assert answers[0].count(True) == 20
    assert answers[0][-2:] == [False, False]


async def test_a_login_by_one_scheme_makes_the_network_known_to_the_other() -> None:
    """Who has logged in by Basic is let by with Digest, though strangers at the address have left no attempt."""
    doors = TwoDoors()
    assert await doors.guess("basic", "alice", "wonderland")
    for _ in range(12):
        await doors.guess("digest", "alice")

    assert [await doors.guess("digest", "alice", password) for password in ("wrong", "wonderland")] == [False, True]


async def test_a_throttle_that_was_given_stays_its_schemes_own() -> None:
    """It is neither replaced by a shared one nor shared, and without one nothing is counted."""
    given = LoginThrottle(clock=ManualClock(1000))
    one, other, none = basic_scheme(throttle=given), digest_scheme(), digest_scheme(throttle=None)
    common = other.throttle

    Guard(one, other, log=False)
    Guard(basic_scheme(), none, log=False)

    assert one.throttle is given
    assert other.throttle is common
    assert none.throttle is None


async def test_one_throttle_that_was_given_to_two_schemes_counts_hashed_names() -> None:
    """As the default one does."""
    given = LoginThrottle(clock=ManualClock(1000))
    doors = TwoDoors(throttle=given)
    doors.basic.use_throttle(given)

    verified = [await doors.guess(form, "alice") for form in ("digest by hash", "basic") for _ in range(12)]

    assert verified.count(True) == 10


def own_throttle(scheme: Basic | Digest) -> DefaultThrottle:
    """The throttle of a scheme that was given none."""
    assert isinstance(scheme.throttle, DefaultThrottle)
    return scheme.throttle


def test_each_guard_has_a_throttle_of_its_own() -> None:
    """Schemes of two guards do not share one; nor do schemes without a guard."""
    schemes: list[Basic | Digest] = [basic_scheme(), digest_scheme(), basic_scheme(), digest_scheme(), basic_scheme()]

    Guard(*schemes[:2], log=False)
    Guard(Badge(), *schemes[2:4], log=False)

    throttles = [own_throttle(scheme) for scheme in schemes]
    assert throttles[0] is throttles[1]
    assert throttles[2] is throttles[3]
    assert len(set(throttles)) == 3


@pytest.mark.parametrize("first", [True, False])
def test_a_scheme_in_two_guards_keeps_the_throttle_that_it_shares(*, first: bool) -> None:
    """The other schemes of the second guard take that one, wherever the scheme is listed."""
    basic, digest, another = basic_scheme(), digest_scheme(), digest_scheme()

    Guard(digest, basic, log=False)
    shared = own_throttle(digest)
    Guard(*([basic, another] if first else [another, basic]), log=False)

    assert own_throttle(basic) is own_throttle(digest) is own_throttle(another) is shared


def test_schemes_that_each_share_one_already_keep_theirs() -> None:
    """A third guard changes nothing for two schemes of two other guards."""
    basic, digest = basic_scheme(), digest_scheme()
    Guard(basic, log=False)
    Guard(digest, log=False)
    before = own_throttle(basic), own_throttle(digest)

    Guard(digest, basic, log=False)

    assert (own_throttle(basic), own_throttle(digest)) == before
