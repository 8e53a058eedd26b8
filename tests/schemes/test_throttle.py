"""The login throttle: what counts as one account and one network, and which attempts it delays."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from authguard.concurrency.token_bucket import Rate
from authguard.errors import ConfigurationError
from authguard.schemes.throttle import (
    BUCKET_BYTES,
    MAX_KEYS_NAME,
    MAX_NAME,
    MOST_KEYS,
    MOST_KEYS_BYTES,
    CountedAttempt,
    LoginThrottle,
)
from authguard.state.throttle_store import Exceeded, MemoryThrottleStore
from authguard.testing import ManualClock

HOME, AWAY = "192.0.2.7", "198.51.100.9"


class ThrottleHarness:
    """A throttle with small rates and a clock that stands still."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock(1000)
        settings: dict[str, Any] = {"pair": Rate(3, 10.0), "account": Rate(5, 4.0), "network": Rate(4, 2.0)}
        self.throttle = LoginThrottle(clock=self.clock, **{**settings, **options})

    async def acquire(self, account: str = "alice", network: str | None = HOME) -> CountedAttempt | Exceeded:
        """One attempt."""
        return await self.throttle.acquire(account, network)

    async def fail(self, times: int, account: str = "alice", network: str | None = HOME) -> int:
        """How many of so many attempts are allowed, if all of them fail."""
        return sum([isinstance(await self.acquire(account, network), CountedAttempt) for _ in range(times)])

    async def succeed(self, account: str = "alice", network: str | None = HOME, *, succeeded: bool = True) -> None:
        """An attempt that is allowed and refunded."""
        taken = await self.acquire(account, network)
        assert isinstance(taken, CountedAttempt)
        await self.throttle.refund(taken, succeeded=succeeded)


# --- One account, one network -----------------------------------------------------------------------------------------


async def test_no_more_pass_than_the_burst() -> None:
    """Beyond the burst an attempt is denied. The client learns the seconds to wait, and the record names the bucket."""
    limiter = ThrottleHarness()

    assert await limiter.fail(10) == 3
    assert await limiter.acquire() == Exceeded(10, "account and network")


async def test_after_its_seconds_there_is_one_attempt_again() -> None:
    """After the wait one attempt is allowed, however often it was denied. After all waits the whole burst is, and no
    more."""
    limiter = ThrottleHarness()
    await limiter.fail(50)

    limiter.clock.move(9.5)
    early = await limiter.acquire()
    limiter.clock.move(0.5)
    passed = await limiter.fail(10)
    limiter.clock.move(1000)
    later = await limiter.fail(10)

    assert (early, passed, later) == (Exceeded(1, "account and network"), 1, 3)


async def test_a_denied_attempt_is_not_counted() -> None:
    """Denied attempts do not prolong the wait."""
    limiter = ThrottleHarness()
    await limiter.fail(3)
    before = await limiter.acquire()

    await limiter.fail(100)

    assert await limiter.acquire() == before


async def test_another_account_or_network_has_its_own_attempts() -> None:
    """The strict bucket is for one account and one network together."""
    limiter = ThrottleHarness()
    await limiter.fail(3)

    assert (await limiter.fail(1, "bob"), await limiter.fail(1, network=AWAY)) == (1, 1)


async def test_a_success_does_not_count() -> None:
    """Any number of successful logins is allowed, and the failures before them stay counted."""
    limiter = ThrottleHarness()
    await limiter.fail(2)

    for _ in range(100):
        await limiter.succeed()

    assert await limiter.fail(10) == 1


async def test_an_attempt_without_a_verdict_does_not_count() -> None:
    """An attempt that could not be decided is refunded, and does not mark the network as one that has logged in."""
    limiter = ThrottleHarness(account=Rate(3, 4.0))

    for _ in range(100):
        await limiter.succeed(succeeded=False)

    assert await limiter.fail(3, network=AWAY) == 3
    assert await limiter.acquire() == Exceeded(4, "account")


async def test_a_late_refund_does_not_exceed_the_burst() -> None:
    """A refund after the bucket has refilled does not raise it above the burst."""
    limiter = ThrottleHarness()
    taken = await limiter.acquire()
    assert isinstance(taken, CountedAttempt)

    limiter.clock.move(1000)
    await limiter.throttle.refund(taken, succeeded=False)

    assert await limiter.fail(10) == 3


async def test_several_event_loops_share_the_burst() -> None:
    """Event loops in several threads share one burst."""
    limiter = ThrottleHarness(pair=Rate(500, 10.0), account=Rate(10_000, 1.0))
    passed: list[int] = []

    def guess() -> None:
        passed.append(anyio.run(limiter.fail, 400))

    threads = [threading.Thread(target=guess) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(passed) == 500


async def test_a_cached_success_is_allowed_while_an_attempt_is_left() -> None:
    """A cached success uses no attempt, and marks the network as one that has logged in. From any other network it is
    denied if no attempt is left."""
    limiter = ThrottleHarness()

    admitted = {await limiter.throttle.allow("alice", HOME) for _ in range(100)}
    for network in botnet(100):
        await limiter.acquire(network=network)

    assert admitted == {None}
    assert await limiter.throttle.allow("alice", AWAY) == Exceeded(4, "account")
    assert await limiter.fail(10) == 3


async def test_a_denied_cached_success_does_not_mark_the_network() -> None:
    """A denied attempt says nothing about the password, so it does not mark the network."""
    limiter = ThrottleHarness()
    for network in botnet(100):
        await limiter.acquire(network=network)

    await limiter.throttle.allow("alice", AWAY)

    assert await limiter.acquire(network=AWAY) == Exceeded(4, "account")


# --- One address that many clients share ------------------------------------------------------------------------------


async def test_a_right_password_passes_although_strangers_have_left_no_attempt() -> None:
    """Somebody has logged in to this account from this network, so that a right password does not wait for those who
    guess there; and it takes none of their attempts."""
    limiter = ThrottleHarness()
    await limiter.succeed()
    wrong = await limiter.fail(100)

    right = [await limiter.throttle.allow("alice", HOME) for _ in range(100)]

    assert (wrong, right) == (3, [None] * 100)
    assert await limiter.acquire() == Exceeded(10, "account and network")


async def test_where_nobody_has_logged_in_a_right_password_waits_as_a_wrong_one() -> None:
    """The first login from a network waits, and so does one to another account of a network that is known."""
    limiter = ThrottleHarness()
    await limiter.succeed("bob")
    await limiter.succeed(network=AWAY)
    wrong = [await limiter.acquire() for _ in range(4)][-1]

    right = await limiter.throttle.allow("alice", HOME)

    assert right == wrong == Exceeded(10, "account and network")


async def test_guesses_that_a_refusal_tells_wrong_are_bounded() -> None:
    """As long as right and wrong passwords get different answers, each wrong one counts, whether it was verified or
    refused. After ``known_pair`` of them, both get the same answer."""
    limiter = ThrottleHarness(known_pair=Rate(8, 40.0))
    await limiter.succeed()

    answers = []
    for _ in range(12):
        right = await limiter.throttle.allow("alice", HOME)
        wrong = await limiter.acquire()
        answers.append((isinstance(wrong, CountedAttempt), right is None))

    assert answers == [(True, True)] * 3 + [(False, True)] * 5 + [(False, False)] * 4
    assert await limiter.acquire() == await limiter.throttle.allow("alice", HOME)
    assert await limiter.acquire() == Exceeded(40, "account and known network")


async def test_after_the_seconds_of_a_known_pair_one_guess_more_is_told() -> None:
    """It is one, for right and wrong passwords together: a wrong one takes it, and a right one leaves it."""
    limiter = ThrottleHarness(known_pair=Rate(8, 40.0))
    await limiter.succeed()
    await limiter.fail(100)

    limiter.clock.move(40)
    right = [await limiter.throttle.allow("alice", HOME) for _ in range(3)]
    await limiter.fail(1)
    after = [await limiter.throttle.allow("alice", HOME), await limiter.acquire()]

    # The strict bucket had all its attempts again, so that the wrong password was verified.
    assert right == [None] * 3
    assert after == [Exceeded(40, "account and known network")] * 2


async def test_an_empty_bucket_of_known_pairs_is_not_emptied_further() -> None:
    """A stranger who goes on guessing does not make the owner wait longer."""
    limiter = ThrottleHarness(known_pair=Rate(8, 40.0))
    await limiter.succeed()
    await limiter.fail(8)
    before = await limiter.throttle.allow("alice", HOME)

    await limiter.fail(100)

    assert await limiter.throttle.allow("alice", HOME) == before


async def test_the_bucket_of_known_pairs_is_of_one_account_in_one_network() -> None:
    """Guesses at another account, or from another network that is known, leave it alone."""
    limiter = ThrottleHarness(known_pair=Rate(8, 40.0))
    for account, network in (("alice", HOME), ("bob", HOME), ("alice", AWAY)):
        await limiter.succeed(account, network)
    await limiter.fail(100, "bob")
    await limiter.fail(100, network=AWAY)

    assert await limiter.throttle.allow("alice", HOME) is None
    assert isinstance(await limiter.throttle.allow("bob", HOME), Exceeded)


async def test_a_network_that_is_slowed_at_all_accounts_lets_known_pairs_by() -> None:
    """With ``trusted_client``, one stranger behind an address can empty the bucket of the network by invented names.
    Who logs in there as before does not notice it."""
    limiter = ThrottleHarness(trusted_client=True)
    await limiter.succeed()
    for number in range(100):
        await limiter.acquire(f"user{number}")

    assert await limiter.acquire() == Exceeded(2, "network")
    assert await limiter.throttle.allow("alice", HOME) is None
    assert await limiter.throttle.allow("bob", HOME) == Exceeded(2, "network")


async def test_with_the_default_rates_two_hundred_guesses_are_told() -> None:
    """And one more every 20 seconds: under 4,600 on the first day, where an attacker and the owner share an address."""
    limiter = ThrottleHarness()
    limiter.throttle = LoginThrottle(clock=limiter.clock)
    await limiter.succeed()

    told = 0
    for _ in range(24 * 60 * 6):
        while await limiter.throttle.allow("alice", HOME) is None:
            await limiter.acquire()
            told += 1
        limiter.clock.move(10)

    assert told == 200 + 24 * 60 * 3 - 1


async def test_it_knows_who_has_logged_in() -> None:
    """By account and network, however both are written. Attempts that failed, or could not be checked, do not count."""
    limiter = ThrottleHarness()
    await limiter.succeed("alice")
    await limiter.throttle.allow("carol", HOME)
    await limiter.succeed("bob", succeeded=False)
    await limiter.fail(1, "dave")

    names = [
        name
        for name in ("alice", "ALICE ", "bob", "carol", "dave")
        if await limiter.throttle.knows(name, HOME + ":4711")
    ]

    assert names == ["alice", "ALICE ", "carol"]
    assert not await limiter.throttle.knows("alice", AWAY)


# --- Names that are hashed --------------------------------------------------------------------------------------------


def _hashed(name: str) -> str:
    """A hash of this name: hexadecimal digits, after a mark."""
    return "#" + name.encode().hex()


async def acquired(limiter: ThrottleHarness, name: str, account: str | None = None) -> bool:
    """Whether an attempt is allowed. A name that begins with ``#`` is a hash, any other one a name of ``account``."""
    sent = None if name.startswith("#") else name
    return isinstance(await limiter.throttle.acquire(account or name, HOME, sent), CountedAttempt)


@pytest.mark.parametrize("first", ["alice", _hashed("alice")])
@pytest.mark.parametrize("account", ["alice", "a@example.org", None])
async def test_a_name_and_its_hash_have_the_attempts_of_one(first: str, account: str | None) -> None:
    """Guesses by name and by hash are as many together as by name alone, in either order. That holds for a name that
    nobody has too, so that it tells nothing."""
    limiter = ThrottleHarness()
    limiter.throttle.count_hashed_names("sha", _hashed)
    second = _hashed("alice") if first == "alice" else "alice"

    passed = [
        await acquired(limiter, name, None if name.startswith("#") else account) for name in [first] * 3 + [second]
    ]

    assert passed == [True] * 3 + [False]


async def test_a_hash_is_counted_for_itself_in_whatever_way_the_name_is_spelt() -> None:
    """The hash of the name as it was sent is counted, and that of the name as a tolerant store compares it."""
    limiter = ThrottleHarness()
    hashed: list[str] = []

    def name_hash(name: str) -> str:
        hashed.append(name)
        return _hashed(name)

    limiter.throttle.count_hashed_names("sha", name_hash)
    for _ in range(3):
        await acquired(limiter, "Alice")
    await acquired(limiter, "x" * 10_000)

    verified = [await acquired(limiter, name) for name in map(_hashed, ("alice", "Alice", "bob"))]

    assert verified == [False, False, True]
    assert set(hashed) == {"Alice", "alice", "x" * MAX_NAME}


async def test_each_kind_of_hash_is_counted() -> None:
    """Each algorithm has hashes of its own; by name an attempt counts for all of them. One kind is counted once."""
    limiter = ThrottleHarness()
    limiter.throttle.count_hashed_names("sha", _hashed)
    limiter.throttle.count_hashed_names("sha", _hashed)
    limiter.throttle.count_hashed_names("md5", "#md5 {}".format)
    for _ in range(3):
        await acquired(limiter, "alice")

    assert [await acquired(limiter, name) for name in (_hashed("alice"), "#md5 alice", "#md5 bob")] == [
        False,
        False,
        True,
    ]


async def test_hashed_names_have_a_bucket_for_all_networks_too() -> None:
    """A botnet gets no second set of attempts at an account by its hash."""
    limiter = ThrottleHarness()
    limiter.throttle.count_hashed_names("sha", _hashed)
    for number in range(10):
        await limiter.throttle.acquire("alice", f"203.0.113.{number}", "alice")

    assert await limiter.acquire(_hashed("alice")) == Exceeded(4, "account")


# --- Keys that are kept -----------------------------------------------------------------------------------------------


async def test_an_attempt_by_its_keys_is_one_by_its_names() -> None:
    """An attempt is counted by the same buckets, whether its keys are made for it or are at hand."""
    limiter = ThrottleHarness(trusted_client=True)
    limiter.throttle.count_hashed_names("sha", _hashed)
    keys = limiter.throttle.keys("alice", HOME, "alice")
    counted = limiter.throttle.acquire_now(keys)

    assert counted == await limiter.throttle.acquire("alice", HOME, "alice")
    assert isinstance(limiter.throttle.acquire_now(keys), CountedAttempt)
    refused = await limiter.throttle.acquire("alice", HOME, "alice")
    assert refused == limiter.throttle.acquire_now(keys) == Exceeded(10, "account and network")
    assert await limiter.throttle.remaining("alice", HOME, "alice") == limiter.throttle.remaining_now(keys) == refused
    assert await limiter.throttle.allow("alice", HOME, "alice") == limiter.throttle.allow_now(keys) == refused
    assert [limiter.throttle.knows_now(limiter.throttle.pair(name, HOME)) for name in ("alice", "bob")] == [
        False,
        False,
    ]


def test_keys_are_made_once_for_one_name() -> None:
    """Keys are kept by the name that the caller gives, if there is one. The throttle holds nothing of the account."""
    throttle = ThrottleHarness().throttle

    first, again, other = (throttle.keys("alice", HOME, kept_as=name) for name in (b"one", b"one", b"two"))
    without = throttle.keys("alice", HOME)

    assert again is first
    assert other is not first
    assert first == other == without
    assert list(throttle._kept_keys._young) == [b"one", b"two"]
    assert "alice" not in repr([first, throttle._kept_keys._young])


def test_keys_of_a_name_that_is_longer_than_any_network_are_not_kept() -> None:
    """A server that passes on what a client calls itself must not let it fill the memory."""
    throttle = ThrottleHarness().throttle

    kept = [
        throttle.keys("alice", HOME, kept_as=name) is throttle.keys("alice", HOME, kept_as=name)
        for name in (b"n" * MAX_KEYS_NAME, b"n" * (MAX_KEYS_NAME + 1))
    ]

    assert kept == [True, False]


def test_kept_keys_are_bounded() -> None:
    """In number and in bytes. An attempt of several hashed names has more buckets, so that fewer of them are kept."""
    throttle = ThrottleHarness().throttle
    cached = []
    for kinds in (0, 50):
        for number in range(kinds):
            throttle.count_hashed_names(f"kind{number}", f"#{number} {{}}".format)
        for number in range(MOST_KEYS + 100):
            throttle.keys("alice", HOME, "alice", kept_as=b"%d" % number)
        cached.append(len(throttle._kept_keys))

    assert cached[0] <= MOST_KEYS
    assert cached[1] <= MOST_KEYS_BYTES / (100 * BUCKET_BYTES)


async def test_keys_that_were_kept_count_a_new_kind_of_hash() -> None:
    """A scheme that takes hashed names may be built after the first login by name."""
    limiter = ThrottleHarness()
    limiter.throttle.keys("alice", HOME, "alice", kept_as=b"one")
    limiter.throttle.count_hashed_names("sha", _hashed)
    for _ in range(3):
        limiter.throttle.acquire_now(limiter.throttle.keys("alice", HOME, "alice", kept_as=b"one"))

    assert await limiter.acquire(_hashed("alice")) == Exceeded(10, "account and network")


# --- What is one account ----------------------------------------------------------------------------------------------

SPELLINGS = [
    "ALICE",
    "Alice",
    "\uff41\uff4c\uff49\uff43\uff45",  # full width
    "\U0001d4b6\U0001d4c1\U0001d4be\U0001d4b8\u212f",  # mathematical letters
    "al\u00adice",  # a soft hyphen
    "\u200balice\ufeff",
    " alice ",
    "alice\u00a0",
    "\u2003alice",
]


async def test_a_blank_in_a_name_does_not_move_a_part_of_it_into_the_network() -> None:
    """Some servers report a client by any text. Where the name ends is counted too."""
    limiter = ThrottleHarness()

    passed = [await limiter.fail(3, *pair) for pair in (("alice 1", "x"), ("alice", "1 x"), ("alice 1 x", ""))]

    assert passed == [3, 3, 3]


@pytest.mark.parametrize("name", SPELLINGS, ids=ascii)
async def test_spellings_of_one_name_share_their_attempts(name: str) -> None:
    """Case, width, spaces and invisible characters do not matter, because a directory may ignore them."""
    limiter = ThrottleHarness()
    await limiter.fail(3)

    assert isinstance(await limiter.acquire(name), Exceeded)


async def test_names_with_one_folding_are_one() -> None:
    """Names with the same case folding share their attempts: sharp s, ligatures, and two spaces for one."""
    limiter = ThrottleHarness()
    await limiter.fail(3, "stra\u00dfe  \ufb01x")

    assert isinstance(await limiter.acquire("STRASSE FIX"), Exceeded)


async def test_different_names_have_different_attempts() -> None:
    """Accents distinguish names, and a name and a network cannot be confused with another split of the same text."""
    limiter = ThrottleHarness()
    await limiter.fail(3)

    for name, network in [("alic\u00e9", HOME), ("alice1", "92.0.2.7"), ("alic", "e" + HOME), ("", HOME)]:
        assert await limiter.fail(1, name, network) == 1


async def test_a_very_long_name_costs_little() -> None:
    """Only the beginning of a very long name is examined, because folding all of it would block the event loop."""
    limiter = ThrottleHarness()
    await limiter.fail(3, "\ufdfa" * MAX_NAME)

    assert isinstance(await limiter.acquire("\ufdfa" * 100_000), Exceeded)


async def test_a_surrogate_in_a_name_is_no_error() -> None:
    """A lone surrogate in a name is no error: a store of an app's own may name its accounts as it likes."""
    assert await ThrottleHarness().fail(10, "\ud800") == 3


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
    """A network is an IPv4 address, mapped or not, an IPv6 /64, or else whatever text the server gives."""
    limiter = ThrottleHarness()
    await limiter.fail(3, network=one)

    assert isinstance(await limiter.acquire(network=other), Exceeded) is same


# --- From many networks -----------------------------------------------------------------------------------------------


def botnet(size: int) -> list[str]:
    """So many networks."""
    return [f"203.0.113.{number}" for number in range(size)]


async def test_many_networks_together_are_slowed_for_one_account() -> None:
    """The account's own bucket counts the attempts of all networks, and the denial names it."""
    limiter = ThrottleHarness()

    passed = sum([await limiter.fail(1, network=network) for network in botnet(100)])

    assert passed == 5
    assert await limiter.acquire(network=AWAY) == Exceeded(4, "account")
    assert await limiter.fail(1, "bob", AWAY) == 1


async def test_a_network_that_has_logged_in_is_not_kept_out_by_others() -> None:
    """The owner's usual network is not affected by guesses from elsewhere. From a new network the owner has to wait."""
    limiter = ThrottleHarness()
    await limiter.succeed()

    for network in botnet(100):
        await limiter.acquire(network=network)

    assert await limiter.fail(10) == 3
    assert isinstance(await limiter.acquire(network=AWAY), Exceeded)


async def test_a_network_that_has_logged_in_is_known_for_that_account_alone() -> None:
    """A network that has logged in to one account gains nothing for another account."""
    limiter = ThrottleHarness()
    await limiter.succeed("mallory")

    for network in botnet(100):
        await limiter.acquire(network=network)

    assert await limiter.acquire() == Exceeded(4, "account")


async def test_the_longest_wait_is_reported() -> None:
    """If two buckets are empty, the longer wait is reported, because after the shorter one the client would be denied
    again."""
    limiter = ThrottleHarness(pair=Rate(5, 30.0))
    await limiter.fail(5)

    assert await limiter.acquire() == Exceeded(30, "account and network")


# --- From one network, at many accounts -------------------------------------------------------------------------------


async def test_without_a_trusted_address_no_network_is_throttled() -> None:
    """Behind a proxy all clients have one address, and one of them must not keep out the others."""
    limiter = ThrottleHarness()

    assert sum([await limiter.fail(1, f"user{number}") for number in range(100)]) == 100


async def test_with_a_trusted_address_a_network_is_throttled_at_all_accounts() -> None:
    """One password tried at many names, invented ones included, counts against the network."""
    limiter = ThrottleHarness(trusted_client=True)

    assert sum([await limiter.fail(1, f"user{number}") for number in range(100)]) == 4
    assert await limiter.acquire("bob") == Exceeded(2, "network")
    assert await limiter.fail(1, "bob", AWAY) == 1


async def test_success_never_resets_a_network() -> None:
    """Logging in to an account of one's own between guesses gains no further guess."""
    limiter = ThrottleHarness(trusted_client=True)

    passed = 0
    for number in range(100):
        own = await limiter.acquire("mallory")
        if isinstance(own, CountedAttempt):
            await limiter.throttle.refund(own, succeeded=True)
        passed += await limiter.fail(1, f"user{number}")

    assert passed == 4


# --- Memory -----------------------------------------------------------------------------------------------------------


def kept(attempts: LoginThrottle) -> int:
    """How many buckets and known pairs the throttle keeps."""
    store = attempts._store
    assert isinstance(store, MemoryThrottleStore)
    return max(len(store._full_at), len(store._logged_in))


def _store(limiter: ThrottleHarness) -> MemoryThrottleStore:
    store = limiter.throttle._store
    assert isinstance(store, MemoryThrottleStore)
    return store


async def test_invented_names_fill_no_memory() -> None:
    """The number of buckets is bounded, and the latest ones are kept."""
    limiter = ThrottleHarness(most=1000)

    for number in range(5000):
        await limiter.acquire(f"user{number}", f"10.0.{number >> 8}.{number & 255}")

    assert kept(limiter.throttle) <= 1000
    assert await limiter.fail(10, "user4999", "10.0.19.135") == 2


async def test_successes_fill_no_memory() -> None:
    """The number of pairs that have logged in is bounded."""
    limiter = ThrottleHarness(most=1000)

    for number in range(2000):
        await limiter.succeed(f"user{number}")

    assert kept(limiter.throttle) <= 1000


async def test_a_full_bucket_is_not_kept() -> None:
    """After a successful login only the fact that it succeeded is kept."""
    limiter = ThrottleHarness(trusted_client=True)

    await limiter.succeed()

    assert (_store(limiter)._full_at._young, len(_store(limiter)._logged_in._young)) == ({}, 1)


async def test_neither_names_nor_addresses_are_kept() -> None:
    """The throttle keeps hashes of 16 bytes under a key of its own, so two throttles keep different ones."""
    limiters = [ThrottleHarness(), ThrottleHarness()]
    for limiter in limiters:
        await limiter.succeed()
        await limiter.acquire()

    keys = [{*_store(limiter)._full_at._young, *_store(limiter)._logged_in._young} for limiter in limiters]

    assert {len(key) for key in keys[0] | keys[1]} == {16}
    assert keys[0].isdisjoint(keys[1])
    assert "alice" not in repr(vars(limiters[0].throttle)) + repr(await limiters[0].acquire())


async def test_the_default_rates_allow_typing_errors_and_stop_guessing() -> None:
    """By default ten attempts are allowed at once and two a minute after that: under 3,000 a day from one network."""
    limiter = ThrottleHarness()
    limiter.throttle = LoginThrottle(clock=limiter.clock)
    first = await limiter.fail(100)

    passed = 0
    for _ in range(24 * 60):
        limiter.clock.move(60)
        passed += await limiter.fail(5)

    assert (first, passed) == (10, 2 * 24 * 60)


# --- Set-up -----------------------------------------------------------------------------------------------------------

BAD: list[tuple[str, Any]] = [
    ("pair", (3, 10.0)),
    ("known_pair", 200),
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
    """An invalid option raises while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        LoginThrottle(**{argument: value})

    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("burst", "seconds", "argument"),
    [(0, 1.0, "burst"), (10_001, 1.0, "burst"), (True, 1.0, "burst"), (2.5, 1.0, "burst"), ("3", 1.0, "burst")]
    + [(1, seconds, "seconds") for seconds in (0, -1, 86_401, float("nan"), float("inf"), True, "1")],
)
def test_an_invalid_rate_raises(burst: Any, seconds: Any, argument: str) -> None:
    """A rate allows at least one attempt, and refills it within a day."""
    with pytest.raises(ConfigurationError) as caught:
        Rate(burst, seconds)

    assert caught.value.argument == argument


def test_the_facts_of_a_denied_attempt() -> None:
    """The facts hold the seconds to wait, which are also sent as ``Retry-After``, and the bucket."""
    assert Exceeded(7, "account").facts() == {"retry_after": 7, "bucket": "account"}
