"""An owner and a stranger behind one address: the owner is not kept out, and the stranger learns little."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from authguard.accounts.account import Account
from authguard.concurrency.token_bucket import Rate
from authguard.model import Accepted, Moment, Outcome, Rejected
from authguard.reasons import PASSWORD_WRONG
from authguard.request import AuthRequest
from authguard.schemes.throttle import LoginThrottle
from authguard.testing import ManualClock
from tests.support.asgi import http_scope
from tests.support.clock import NOW
from tests.support.schemes.basic import ALICE, Ldap, Users, basic_scheme, log_in
from tests.support.schemes.digest import answer_challenge, authenticate, challenge, digest_request, digest_scheme

LogIn = Callable[[str], Awaitable[Outcome]]


class Directory:
    """A directory with one account, whose password a test may change."""

    def __init__(self, account: Account = ALICE) -> None:
        self.account, self.password = account, "wonderland"

    async def check(self, username: str, password: str) -> Any:
        """The account if the password is right."""
        return self.account if password == self.password else PASSWORD_WRONG


def basic(passwords: Any, clock: ManualClock, **options: Any) -> LogIn:
    """Logins as alice by Basic."""
    scheme = basic_scheme(passwords, clock=clock, **options)

    async def one(password: str) -> Outcome:
        return await log_in(scheme, "alice", password)

    return one


def digest(clock: ManualClock, **options: Any) -> LogIn:
    """Logins as alice by Digest, each with a nonce of its own."""
    scheme = digest_scheme(clock=clock, **options)

    async def one(password: str) -> Outcome:
        now = NOW + clock() - 1000
        params = answer_challenge(challenge(scheme, now=now), password)
        return await authenticate(scheme, params, digest_request(now))

    return one


BEHIND: dict[str, Callable[[ManualClock], LogIn]] = {
    "a store": lambda clock: basic(Users(ALICE), clock),
    "a directory": lambda clock: basic(Directory(), clock),
    "digest": digest,
}


def exceeded(outcome: Outcome) -> bool:
    """Whether it is a 429."""
    return isinstance(outcome, Rejected) and outcome.reason.code == "attempts.exceeded"


@pytest.mark.parametrize("name", BEHIND)
async def test_a_stranger_at_the_same_address_keeps_no_owner_out(name: str) -> None:
    """Ten wrong guesses, and one whenever there is an attempt again, are 130 an hour and leave none. All of the owner's
    3,600 right passwords pass, though each minute the password is verified again."""
    clock = ManualClock(1000)
    attempt = BEHIND[name](clock)
    assert isinstance(await attempt("wonderland"), Accepted)
    guesses, right = 0, 0

    for second in range(3600):
        for _ in range(10 if second == 0 else second % 30 == 0):
            await attempt(f"guess{guesses}")
            guesses += 1
        right += isinstance(await attempt("wonderland"), Accepted)
        clock.move(1)

    assert (guesses, right) == (129, 3600)


@pytest.mark.parametrize("name", BEHIND)
async def test_when_the_wider_bucket_is_empty_the_owner_waits_too(name: str) -> None:
    """Two hundred guesses get another answer than the right password. From then on, right and wrong are answered alike
    until 20 seconds have passed, and then one more guess is told."""
    clock = ManualClock(1000)
    attempt = BEHIND[name](clock)
    await attempt("wonderland")

    told = 0
    while isinstance(await attempt("wonderland"), Accepted):
        await attempt(f"guess{told}")
        told += 1
    both = [await attempt(password) for password in ("wonderland", "wrong", "wonderland")]
    clock.move(20)
    again = [isinstance(await attempt(password), Accepted) for password in ("wonderland", "wrong", "wonderland")]

    assert told == 200
    assert [exceeded(outcome) for outcome in both] == [True] * 3
    assert len({str(outcome.facts) for outcome in both}) == 1
    assert again == [True, False, False]


async def test_where_nothing_is_remembered_a_right_password_waits_as_before() -> None:
    """Without a verification cache a password is a guess each time, and the strict bucket alone decides."""
    attempt = basic(Users(ALICE), ManualClock(1000), remember=None)
    await attempt("wonderland")
    for number in range(10):
        await attempt(f"guess{number}")

    assert exceeded(await attempt("wonderland"))


async def test_a_password_that_a_directory_has_forgotten_is_a_guess_again() -> None:
    """A password that was right is verified although no attempt is left, but counts if it is wrong by now. So it cannot
    be tried for ever, and guesses at the new password are not told apart."""
    clock, directory = ManualClock(1000), Directory()
    attempt = basic(directory, clock, throttle=LoginThrottle(known_pair=Rate(15, 20.0), clock=clock))
    await attempt("wonderland")
    directory.password = "looking-glass"

    answers = [exceeded(await attempt("wonderland")) for _ in range(30)]

    assert answers == [False] * 10 + [True] * 20
    assert exceeded(await attempt("looking-glass"))


async def test_a_password_that_a_directory_has_forgotten_counts_nothing_without_a_throttle() -> None:
    """It is answered as wrong each time."""
    directory = Directory()
    attempt = basic(directory, ManualClock(1000), throttle=None)
    await attempt("wonderland")
    directory.password = "looking-glass"

    assert not any([exceeded(await attempt("wonderland")) for _ in range(30)])


async def test_an_account_that_a_directory_has_disabled_is_a_guess_again() -> None:
    """Its right password counts each time, as a wrong one does."""
    ldap = Ldap(ALICE)
    attempt = basic(ldap, ManualClock(1000))
    await attempt("wonderland")
    ldap.answer = Account("alice", "", disabled=True)

    assert [exceeded(await attempt("wonderland")) for _ in range(12)] == [False] * 10 + [True] * 2


async def test_the_right_password_of_a_disabled_account_is_not_verified_again() -> None:
    """After the account is disabled, its former password is refused without a hash when no attempt is left, as a wrong
    one is: otherwise the time would tell that it is right."""
    clock, users = ManualClock(1000), Users(ALICE)
    attempt = basic(users, clock)
    await attempt("wonderland")
    users.accounts["alice"] = Account("alice", ALICE.password_hash, disabled=True)
    for number in range(10):
        await attempt(f"guess{number}")
    before = users.hasher.count

    answers = [exceeded(await attempt(password)) for password in ("wonderland", "wrong")]

    assert (answers, users.hasher.count) == ([True, True], before)


async def test_an_outage_while_a_known_password_is_verified_again_counts_nothing() -> None:
    """Nobody has learned anything."""
    ldap = Ldap(ALICE)
    attempt = basic(ldap, ManualClock(1000))
    await attempt("wonderland")
    for _ in range(30):
        ldap.answer = "nonsense"
        with pytest.raises(TypeError):
            await attempt("wonderland")

    ldap.answer = PASSWORD_WRONG
    assert not exceeded(await attempt("guess"))


async def test_the_body_of_a_right_digest_is_read_for_an_owner() -> None:
    """With ``auth-int`` whether a response is right is known after the body. For an owner whose strict bucket strangers
    have emptied it is read; for somebody who has not logged in from there it is not."""
    scheme = digest_scheme(qop=("auth-int",), throttle=LoginThrottle(clock=ManualClock(1000)))
    read: list[str] = []

    def post(client: str) -> AuthRequest:
        async def body(limit: int) -> bytes:
            read.append(client)
            return b"ten pounds"

        return AuthRequest(http_scope(method="POST", client=(client, 1)), "/", Moment(NOW, 60.0), body)

    async def attempt(password: str, client: str) -> Outcome:
        params = answer_challenge(challenge(scheme), password, method="POST", body=b"ten pounds")
        return await authenticate(scheme, params, post(client))

    assert isinstance(await attempt("wonderland", "192.0.2.7"), Accepted)
    for client in ("192.0.2.7", "203.0.113.9"):
        for _ in range(12):
            await attempt("wrong", client)
    read.clear()
    answers = [isinstance(await attempt("wonderland", client), Accepted) for client in ("192.0.2.7", "203.0.113.9")]

    assert (answers, read) == ([True, False], ["192.0.2.7"])
