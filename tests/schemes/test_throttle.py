"""The limiter: what counts as one account and one network, what slows whom, and what it never does."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from authguard.concurrency.token_bucket import Rate
from authguard.errors import ConfigurationError
from authguard.schemes.throttle import MAX_NAME, CountedAttempt, LoginThrottle
from authguard.state.throttle_store import Exceeded, MemoryThrottleStore
from authguard.testing import ManualClock

HOME, AWAY = "192.0.2.7", "198.51.100.9"


class Limiter:
    """Attempts of small rates, by a clock that stands still."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock(1000)
        given: dict[str, Any] = {"pair": Rate(3, 10.0), "account": Rate(5, 4.0), "network": Rate(4, 2.0)}
        self.attempts = LoginThrottle(clock=self.clock, **{**given, **options})

    async def acquire(self, account: str = "alice", network: str | None = HOME) -> CountedAttempt | Exceeded:
        """One attempt."""
        return await self.attempts.acquire(account, network)

    async def fail(self, times: int, account: str = "alice", network: str | None = HOME) -> int:
        """How many of so many attempts pass, where none succeeds."""
        return sum([isinstance(await self.acquire(account, network), CountedAttempt) for _ in range(times)])

    async def succeed(self, account: str = "alice", network: str | None = HOME, *, succeeded: bool = True) -> None:
        """An attempt that passes and is given back."""
        taken = await self.acquire(account, network)
        assert isinstance(taken, CountedAttempt)
        await self.attempts.refund(taken, succeeded=succeeded)


# --- One account, one network -----------------------------------------------------------------------------------------


async def test_no_more_pass_than_the_burst() -> None:
    """Then the client learns for how many seconds, and the record which bucket."""
    limiter = Limiter()

    assert await limiter.fail(10) == 3
    assert await limiter.acquire() == Exceeded(10, "account and network")


async def test_after_its_seconds_there_is_one_attempt_again() -> None:
    """One, however long it was refused; and after all of them the whole burst, and no more than that."""
    limiter = Limiter()
    await limiter.fail(50)

    limiter.clock.move(9.5)
    early = await limiter.acquire()
    limiter.clock.move(0.5)
    passed = await limiter.fail(10)
    limiter.clock.move(1000)
    later = await limiter.fail(10)

    assert (early, passed, later) == (Exceeded(1, "account and network"), 1, 3)


async def test_what_is_refused_is_not_counted() -> None:
    """Who goes on asking locks nobody out for longer."""
    limiter = Limiter()
    await limiter.fail(3)
    before = await limiter.acquire()

    await limiter.fail(100)

    assert await limiter.acquire() == before


async def test_another_account_and_another_network_are_another_matter() -> None:
    """The strict bucket is for both together."""
    limiter = Limiter()
    await limiter.fail(3)

    assert (await limiter.fail(1, "bob"), await limiter.fail(1, network=AWAY)) == (1, 1)


async def test_what_succeeds_does_not_count() -> None:
    """Any number of right passwords passes, and the failures before them stay counted."""
    limiter = Limiter()
    await limiter.fail(2)

    for _ in range(100):
        await limiter.succeed()

    assert await limiter.fail(10) == 1


async def test_what_nobody_could_tell_does_not_count() -> None:
    """An outage of ours is no guess; nor does it make the network one that has logged in."""
    limiter = Limiter(account=Rate(3, 4.0))

    for _ in range(100):
        await limiter.succeed(succeeded=False)

    assert await limiter.fail(3, network=AWAY) == 3
    assert await limiter.acquire() == Exceeded(4, "account")


async def test_what_is_given_back_late_gives_no_more_than_was_taken() -> None:
    """The bucket has filled up meanwhile: it is full, and not more than that."""
    limiter = Limiter()
    taken = await limiter.acquire()
    assert isinstance(taken, CountedAttempt)

    limiter.clock.move(1000)
    await limiter.attempts.refund(taken, succeeded=False)

    assert await limiter.fail(10) == 3


async def test_several_event_loops_share_the_burst() -> None:
    """A guard may serve several, each in a thread."""
    limiter = Limiter(pair=Rate(500, 10.0), account=Rate(10_000, 1.0))
    passed: list[int] = []

    def guess() -> None:
        passed.append(anyio.run(limiter.fail, 400))

    threads = [threading.Thread(target=guess) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(passed) == 500


async def test_a_success_that_is_known_already_is_let_by_where_an_attempt_is_left() -> None:
    """It counts nothing, is refused as any other where none is left, and makes the network one that has logged in."""
    limiter = Limiter()

    admitted = {await limiter.attempts.allow("alice", HOME) for _ in range(100)}
    for network in botnet(100):
        await limiter.acquire(network=network)

    assert admitted == {None}
    assert await limiter.attempts.allow("alice", AWAY) == Exceeded(4, "account")
    assert await limiter.fail(10) == 3
    assert await limiter.attempts.allow("alice", HOME) == Exceeded(10, "account and network")


async def test_who_is_refused_there_has_not_logged_in() -> None:
    """A refusal tells nothing of the password, and so makes no network known."""
    limiter = Limiter()
    for network in botnet(100):
        await limiter.acquire(network=network)

    await limiter.attempts.allow("alice", AWAY)

    assert await limiter.acquire(network=AWAY) == Exceeded(4, "account")


# --- What is one account ----------------------------------------------------------------------------------------------

SPELLINGS = [
    "ALICE",
    "Alice",
    "\uff41\uff4c\uff49\uff43\uff45",  # full width
    "\U0001d4b6\U0001d4c1\U0001d4be\U0001d4b8\u212f",  # for mathematicians
    "al\u00adice",  # a soft hyphen
    "\u200balice\ufeff",
    " alice ",
    "alice\u00a0",
    "\u2003alice",
]


@pytest.mark.parametrize("name", SPELLINGS, ids=ascii)
async def test_a_name_is_one_however_it_is_spelt(name: str) -> None:
    """A directory may compare names without case, width, blanks and what cannot be seen; guessing must not profit."""
    limiter = Limiter()
    await limiter.fail(3)

    assert isinstance(await limiter.acquire(name), Exceeded)


async def test_names_with_one_folding_are_one() -> None:
    """Sharp s, ligatures, and two blanks for one."""
    limiter = Limiter()
    await limiter.fail(3, "stra\u00dfe  \ufb01x")

    assert isinstance(await limiter.acquire("STRASSE FIX"), Exceeded)


async def test_other_names_are_others() -> None:
    """Accents count, and so does what stands between names and networks: no two lists of parts are one."""
    limiter = Limiter()
    await limiter.fail(3)

    for name, network in [("alic\u00e9", HOME), ("alice1", "92.0.2.7"), ("alic", "e" + HOME), ("", HOME)]:
        assert await limiter.fail(1, name, network) == 1


async def test_a_very_long_name_costs_little() -> None:
    """Of a name that no account has only the beginning is looked at: to fold all of it takes the loop's time."""
    limiter = Limiter()
    await limiter.fail(3, "\ufdfa" * MAX_NAME)

    assert isinstance(await limiter.acquire("\ufdfa" * 100_000), Exceeded)


async def test_a_surrogate_in_a_name_is_no_error() -> None:
    """A store of one's own may name its accounts as it likes."""
    assert await Limiter().fail(10, "\ud800") == 3


# --- What is one network ----------------------------------------------------------------------------------------------

NETWORKS: list[tuple[str | None, str | None, bool]] = [
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
    ("2001:db8:1:2::1", "2001:DB8:1:2::1", True),
    ("fe80::1%eth0", "fe80::2%eth1", True),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ("::ffff:192.0.2.7", "192.0.2.7", True),
    ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
    ("192.0.2.7", "192.0.2.8", False),
    (None, "", True),
    (None, "192.0.2.7", False),
    ("/run/app.sock", "/run/app.sock", True),
    ("one.sock", "other.sock", False),
]


@pytest.mark.parametrize(("one", "other", "same"), NETWORKS)
async def test_a_network_is_what_one_customer_gets(one: str | None, other: str | None, same: bool) -> None:
    """An IPv4 address, mapped or not; an IPv6 /64; else whatever the server says, down to nothing."""
    limiter = Limiter()
    await limiter.fail(3, network=one)

    assert isinstance(await limiter.acquire(network=other), Exceeded) is same


# --- From many networks -----------------------------------------------------------------------------------------------


def botnet(size: int) -> list[str]:
    """So many networks."""
    return [f"203.0.113.{number}" for number in range(size)]


async def test_many_networks_together_are_slowed_for_one_account() -> None:
    """The account's own bucket counts them all, and says so."""
    limiter = Limiter()

    passed = sum([await limiter.fail(1, network=network) for network in botnet(100)])

    assert passed == 5
    assert await limiter.acquire(network=AWAY) == Exceeded(4, "account")
    assert await limiter.fail(1, "bob", AWAY) == 1


async def test_a_network_that_has_logged_in_is_not_kept_out_by_others() -> None:
    """The owner at home does not notice the guessing; from a new place he has to wait."""
    limiter = Limiter()
    await limiter.succeed()

    for network in botnet(100):
        await limiter.acquire(network=network)

    assert await limiter.fail(10) == 3
    assert isinstance(await limiter.acquire(network=AWAY), Exceeded)


async def test_a_network_that_has_logged_in_is_known_for_that_account_alone() -> None:
    """Who has an account of his own gains nothing for another's."""
    limiter = Limiter()
    await limiter.succeed("mallory")

    for network in botnet(100):
        await limiter.acquire(network=network)

    assert await limiter.acquire() == Exceeded(4, "account")


async def test_the_longest_wait_is_the_one_that_is_told() -> None:
    """Where two buckets are empty, who comes back after the shorter wait would be refused again."""
    limiter = Limiter(pair=Rate(5, 30.0))
    await limiter.fail(5)

    assert await limiter.acquire() == Exceeded(30, "account and network")


# --- From one network, at many accounts -------------------------------------------------------------------------------


async def test_without_a_trusted_address_no_network_is_slowed() -> None:
    """Behind a proxy all clients have one address, and one of them could keep all others out."""
    limiter = Limiter()

    assert sum([await limiter.fail(1, f"user{number}") for number in range(100)]) == 100


async def test_with_a_trusted_address_a_network_is_slowed_at_all_accounts() -> None:
    """One password tried at many names, and names that are invented."""
    limiter = Limiter(trusted_client=True)

    assert sum([await limiter.fail(1, f"user{number}") for number in range(100)]) == 4
    assert await limiter.acquire("bob") == Exceeded(2, "network")
    assert await limiter.fail(1, "bob", AWAY) == 1


async def test_success_never_resets_a_network() -> None:
    """Who has an account of his own and logs in between his guesses gets not one guess more."""
    limiter = Limiter(trusted_client=True)

    passed = 0
    for number in range(100):
        own = await limiter.acquire("mallory")
        if isinstance(own, CountedAttempt):
            await limiter.attempts.refund(own, succeeded=True)
        passed += await limiter.fail(1, f"user{number}")

    assert passed == 4


# --- Memory -----------------------------------------------------------------------------------------------------------


def kept(attempts: LoginThrottle) -> int:
    """How many buckets and pairs it keeps."""
    store = attempts._store
    assert isinstance(store, MemoryThrottleStore)
    return max(len(store._full_at), len(store._logged_in))


def _store(limiter: Limiter) -> MemoryThrottleStore:
    store = limiter.attempts._store
    assert isinstance(store, MemoryThrottleStore)
    return store


async def test_invented_names_fill_no_memory() -> None:
    """However many come, no more buckets are kept than the most; the latest of them are."""
    limiter = Limiter(most=1000)

    for number in range(5000):
        await limiter.acquire(f"user{number}", f"10.0.{number >> 8}.{number & 255}")

    assert kept(limiter.attempts) <= 1000
    assert await limiter.fail(10, "user4999", "10.0.19.135") == 2


async def test_successes_fill_no_memory() -> None:
    """Neither do pairs that have logged in."""
    limiter = Limiter(most=1000)

    for number in range(2000):
        await limiter.succeed(f"user{number}")

    assert kept(limiter.attempts) <= 1000


async def test_a_full_bucket_is_not_kept() -> None:
    """Who logs in leaves nothing but that he has."""
    limiter = Limiter(trusted_client=True)

    await limiter.succeed()

    assert (_store(limiter)._full_at._young, len(_store(limiter)._logged_in._young)) == ({}, 1)


async def test_neither_names_nor_addresses_are_kept() -> None:
    """Only hashes of 16 octets, under a key of this object: those of another are others."""
    limiters = [Limiter(), Limiter()]
    for limiter in limiters:
        await limiter.succeed()
        await limiter.acquire()

    keys = [{*_store(limiter)._full_at._young, *_store(limiter)._logged_in._young} for limiter in limiters]

    assert {len(key) for key in keys[0] | keys[1]} == {16}
    assert keys[0].isdisjoint(keys[1])
    assert "alice" not in repr(vars(limiters[0].attempts)) + repr(await limiters[0].acquire())


async def test_the_default_rates_pass_who_mistypes_and_stop_who_guesses() -> None:
    """Ten attempts at once, then two a minute: under 3,000 a day from one network."""
    limiter = Limiter()
    limiter.attempts = LoginThrottle(clock=limiter.clock)
    first = await limiter.fail(100)

    passed = 0
    for _ in range(24 * 60):
        limiter.clock.move(60)
        passed += await limiter.fail(5)

    assert (first, passed) == (10, 2 * 24 * 60)


# --- Set-up -----------------------------------------------------------------------------------------------------------

BAD: list[tuple[str, Any]] = [
    ("pair", (3, 10.0)),
    ("account", None),
    ("network", Rate),
    ("most", 999),
    ("most", 10_000_001),
    ("most", 5000.0),
    ("most", True),
    ("trusted_client", "no"),
]


@pytest.mark.parametrize(("argument", "value"), BAD)
def test_bad_options_are_refused(argument: str, value: Any) -> None:
    """By the argument's name, while the app is built."""
    with pytest.raises(ConfigurationError) as caught:
        LoginThrottle(**{argument: value})

    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("burst", "seconds", "argument"),
    [(0, 1.0, "burst"), (10_001, 1.0, "burst"), (True, 1.0, "burst"), (2.5, 1.0, "burst"), ("3", 1.0, "burst")]
    + [(1, seconds, "seconds") for seconds in (0, -1, 86_401, float("nan"), float("inf"), True, "1")],
)
def test_a_bad_rate_is_refused(burst: Any, seconds: Any, argument: str) -> None:
    """At least one attempt, and it comes back within a day."""
    with pytest.raises(ConfigurationError) as caught:
        Rate(burst, seconds)

    assert caught.value.argument == argument


def test_what_the_record_is_told() -> None:
    """For how long, which is also the ``Retry-After``, and by which bucket."""
    assert Exceeded(7, "account").facts() == {"retry_after": 7, "bucket": "account"}
