"""One verification for whatever name comes, and which stored hash it is made against."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from authguard.accounts.account import NOT_NOW, Account, NotNow
from authguard.accounts.memory import MemoryUsers
from authguard.concurrency.thread_pool import ThreadPool
from authguard.errors import BackendUnavailable
from authguard.reasons import (
    PASSWORD_EMPTY,
    PASSWORD_HASH_UNREADABLE,
    PASSWORD_TOO_LONG,
    PASSWORD_WRONG,
    STORE_TIMEOUT,
    STORE_UNAVAILABLE,
    USER_UNKNOWN,
    Reason,
)
from authguard.schemes.password_verifier import MOST_SEEN, DirectoryVerifier, PasswordVerifier, jump_hash
from tests.support.schemes.basic import ALICE, MALLORY, Ldap, SpyHasher, Users, memory_users

FORMATS = ["fast", "old", "slow", "short"]


def verifier(store: Any) -> PasswordVerifier:
    """It verifies in one thread."""
    return PasswordVerifier(store, ThreadPool(threads=1, waiting=1000, deadline=60), 60)


def crowd(size: int) -> list[Account]:
    """Accounts whose hashes are of four formats."""
    return [Account(f"user{number}", f"${FORMATS[number % 4]}$pw{number}") for number in range(size)]


async def decoy_of(judge: PasswordVerifier, hasher: SpyHasher, username: str) -> str:
    """The stored hash that the password of an unknown user was verified against."""
    assert await judge.verify(username, "guess", None) is USER_UNKNOWN
    return hasher.verified[-1][1]


NOBODY, NO_HASH, LOCKED = None, Account("svc", ""), Account("svc", "!$fast$locked")
SHORT = Account("bob", "$short$abc")
JUDGED: list[tuple[Account | None, str, Account | Reason]] = [
    (ALICE, "wonderland", ALICE),
    (ALICE, "wrong", PASSWORD_WRONG),
    (ALICE, "", PASSWORD_EMPTY),
    (Account("carol", "$fast$"), "", PASSWORD_EMPTY),
    (MALLORY, "secret", MALLORY),
    (MALLORY, "wrong", PASSWORD_WRONG),
    (NOBODY, "wonderland", USER_UNKNOWN),
    (NOBODY, "", USER_UNKNOWN),
    (SHORT, "four", PASSWORD_TOO_LONG),
    (NO_HASH, "wonderland", PASSWORD_WRONG),
    (NO_HASH, "", PASSWORD_EMPTY),
    (LOCKED, "locked", PASSWORD_HASH_UNREADABLE),
]


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize(("account", "password", "answer"), JUDGED)
async def test_each_way_to_fail_has_its_reason_and_costs_one_verification(
    account: Account | None, password: str, answer: Account | Reason, *, sampled: bool
) -> None:
    """Whoever is named, and whatever the store shows of its hashes."""
    hasher = SpyHasher()
    judge = verifier(memory_users(hasher=hasher) if sampled else Users(ALICE, hasher=hasher))

    said = await judge.verify("somebody", password, account)

    assert said == answer
    assert [given for given, _ in hasher.verified] == [password]


async def test_a_hash_that_cannot_be_read_is_not_verified() -> None:
    """Somebody's that can be is, so that the answer comes no sooner than for others."""
    hasher = SpyHasher()
    judge = verifier(memory_users(hasher=hasher))

    await judge.verify("svc", "locked", LOCKED)

    assert hasher.verified[0][1] in {ALICE.password_hash, MALLORY.password_hash}


async def test_an_unknown_name_is_verified_against_a_stored_hash_and_always_the_same() -> None:
    """A name that costs now this and now that would be known for unknown."""
    hasher = SpyHasher()
    judge = verifier(memory_users(*crowd(40), hasher=hasher))
    stored = {account.password_hash for account in crowd(40)}

    first = [await decoy_of(judge, hasher, f"nobody{number}") for number in range(20)]
    again = [await decoy_of(judge, hasher, f"nobody{number}") for number in range(20)]

    assert first == again
    assert set(first) <= stored
    assert len(set(first)) > 5


async def picks_of(*accounts: Account) -> list[int]:
    """Which hashes of a store of so many are picked for some names."""
    hasher = SpyHasher()
    judge = verifier(memory_users(*accounts, hasher=hasher))
    stored = [account.password_hash for account in accounts]
    return [stored.index(await decoy_of(judge, hasher, f"nobody{number}")) for number in range(20)]


async def test_all_worker_processes_pick_the_same() -> None:
    """Else a name would cost now this and now that, by which of them answers."""
    assert await picks_of(*crowd(1000)) == await picks_of(*crowd(1000))


async def test_which_hash_it_is_cannot_be_known_outside() -> None:
    """The name is hashed under a key that only the file knows."""
    assert await picks_of(*crowd(1000)) != await picks_of(Account("first", "$fast$other"), *crowd(1000)[1:])


async def test_unknown_names_are_spread_over_the_formats_as_known_ones_are() -> None:
    """In a file of four formats a quarter of them costs what each format costs."""
    hasher = SpyHasher()
    judge = verifier(memory_users(*crowd(400), hasher=hasher))

    kinds = Counter([(await decoy_of(judge, hasher, f"nobody{n}")).split("$")[1] for n in range(400)])

    assert set(kinds) == set(FORMATS)
    assert all(60 <= number <= 140 for number in kinds.values()), kinds


async def test_a_user_more_changes_hardly_any_pick() -> None:
    """Else all unknown names would change their cost when the file changes, and known ones would not."""
    hasher = SpyHasher()
    smaller, larger = (
        verifier(memory_users(*crowd(99), hasher=hasher)),
        verifier(memory_users(*crowd(100), hasher=hasher)),
    )
    names = [f"nobody{number}" for number in range(200)]

    before = [await decoy_of(smaller, hasher, name) for name in names]
    after = [await decoy_of(larger, hasher, name) for name in names]

    moved = [now for now, then in zip(after, before, strict=True) if now != then]
    assert set(moved) <= {crowd(100)[99].password_hash}
    assert len(moved) < 20


# Of lithammer/go-jump-consistent-hash, jump_test.go.
JUMPS = [(1, 1, 0), (42, 57, 43), (0xDEAD10CC, 1, 0), (0xDEAD10CC, 666, 361), (256, 1024, 520)]


@pytest.mark.parametrize(("key", "places", "place"), JUMPS)
def test_the_jump_is_that_of_other_implementations(key: int, places: int, place: int) -> None:
    """So it moves as few names as its paper proves."""
    assert jump_hash(key, places) == place


async def test_a_sample_is_skipped_over_where_it_cannot_be_read() -> None:
    """A decoy that is not verified would be told by its answer's coming at once."""
    hasher = SpyHasher()

    class Mixed(Users):
        def sample(self) -> list[str]:
            return ["$odd$x", "!locked", "$fast$good", "", "plain"]

    judge = verifier(Mixed(hasher=hasher))

    assert {await decoy_of(judge, hasher, f"nobody{number}") for number in range(20)} == {"$fast$good"}


@pytest.mark.parametrize("sample", [[], ["$odd$x"], [""], ["!"] * 100_000 + ["$fast$far away"]], ids=len)
async def test_where_nothing_can_be_read_one_hash_is_made(sample: list[str]) -> None:
    """Once; who has no user has none to hide. A long search for a better one would cost the event loop."""
    hasher = SpyHasher()

    class Odd(Users):
        def sample(self) -> list[str]:
            return sample

    judge = verifier(Odd(hasher=hasher))

    picks = {await decoy_of(judge, hasher, f"nobody{number}") for number in range(5)}

    assert picks == {f"$new${hasher.hashed[0]}"}
    assert len(hasher.hashed) == 1
    assert hasher.count == 5


async def test_a_store_that_shows_no_sample_lends_what_came_by() -> None:
    """The hashes of those who logged in, right or wrong; the first of so many."""
    hasher = SpyHasher()
    judge = verifier(Users(hasher=hasher))
    accounts = crowd(MOST_SEEN + 50)
    for account in accounts:
        await judge.verify(account.subject, "wrong", account)

    picks = {await decoy_of(judge, hasher, f"nobody{number}") for number in range(200)}

    assert picks <= {account.password_hash for account in accounts[:MOST_SEEN]}
    assert len(picks) > MOST_SEEN // 2
    assert hasher.hashed == []


async def test_a_new_hash_is_made_where_the_stored_one_is_outdated() -> None:
    """In the pool; else nothing is."""
    hasher = SpyHasher()
    judge = verifier(memory_users(hasher=hasher))

    renewed = [await judge.rehash("wonderland", account) for account in (ALICE, Account("bob", "$old$wonderland"))]

    assert renewed == [None, "$new$wonderland"]


def test_the_formats_that_hold_the_interpreter_are_named() -> None:
    """By what they begin with where that is a format, and by nothing of the hash where it is not."""
    hashes = ["$slow$a", "$fast$b", "$slow-512$c", "$slow$d", "$Sslow$e", "slow", "$fast$slow$"]
    store = memory_users(*[Account(f"user{number}", "$fast$x") for number in range(len(hashes))])
    store._sample = tuple(hashes)

    assert verifier(store).gil_blocking_formats() == ["$fast$", "$slow$", "$slow-512$", "another format"]


def test_of_a_large_file_some_are_looked_at() -> None:
    """All through it, and not so many that the start takes long."""
    looked: list[str] = []

    class Looking(SpyHasher):
        def blocks_gil(self, stored: str) -> bool:
            looked.append(stored)
            return False

    store = memory_users(hasher=Looking())
    store._sample = tuple(f"$fast${number}" for number in range(10_000))

    verifier(store).gil_blocking_formats()

    assert 500 <= len(looked) <= 1000
    assert looked[-1] > "$fast$99"


# --- Directories ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [ALICE, MALLORY, PASSWORD_WRONG, USER_UNKNOWN])
async def test_what_a_directory_says_holds(answer: Account | Reason) -> None:
    """It looked at the password itself. Nobody is found before that."""
    ldap = Ldap(answer)
    judge = DirectoryVerifier(ldap, 60)

    assert await judge.find("alice") is None
    assert await judge.verify("alice", "wonderland", None) is answer
    assert ldap.calls == [("alice", "wonderland")]


async def test_a_directory_is_never_asked_about_an_empty_password() -> None:
    """To LDAP that is an anonymous bind, and succeeds."""
    ldap = Ldap(ALICE)

    assert await DirectoryVerifier(ldap, 60).verify("alice", "", None) is PASSWORD_EMPTY
    assert ldap.calls == []


async def test_a_directory_may_say_by_a_reason_that_it_is_down() -> None:
    """That is an outage, however it is said."""
    with pytest.raises(BackendUnavailable) as caught:
        await DirectoryVerifier(Ldap(STORE_UNAVAILABLE), 60).verify("alice", "wonderland", None)

    assert caught.value.reason is STORE_UNAVAILABLE


class Hung(Users):
    """It answers nothing."""

    async def find(self, username: str) -> Account | None:
        await anyio.sleep_forever()
        return None

    async def check(self, username: str, password: str) -> Account | Reason:
        await self.find(username)
        return ALICE


async def test_a_store_and_a_directory_have_a_deadline() -> None:
    """Then it is an outage of theirs."""
    hung = Hung()
    pool = ThreadPool(threads=1)

    with pytest.raises(BackendUnavailable) as store:
        await PasswordVerifier(hung, pool, 0.01).find("alice")
    with pytest.raises(BackendUnavailable) as directory:
        await DirectoryVerifier(hung, 0.01).verify("alice", "wonderland", None)

    assert [caught.value.reason for caught in (store, directory)] == [STORE_TIMEOUT] * 2


class Slow(Users):
    """A store that answers at once if the test says so; otherwise it takes longer than the deadline."""

    def __init__(self, *, at_hand: bool) -> None:
        super().__init__(ALICE)
        self.at_hand = at_hand

    async def find(self, username: str) -> Account | None:
        await anyio.sleep(0.05)
        return await super().find(username)

    def find_now(self, username: str) -> Account | NotNow | None:
        return ALICE if self.at_hand else NOT_NOW


async def test_a_store_with_its_answer_at_hand_is_asked_without_a_timer() -> None:
    """Only where it says so, each time anew: the deadline would cost more than the answer."""
    slow = Slow(at_hand=True)
    verifier = PasswordVerifier(slow, ThreadPool(threads=1), 0.001)

    found = await verifier.find("alice")
    slow.at_hand = False
    with pytest.raises(BackendUnavailable):
        await verifier.find("alice")

    assert found is ALICE


class Remote(MemoryUsers):
    """It takes over where accounts come from, and says nothing of how long that takes."""

    async def find(self, username: str) -> Account | None:
        await anyio.sleep_forever()
        return None


async def test_a_store_made_of_another_one_is_asked_with_a_deadline() -> None:
    """That its answer is at hand was said of the look-up that it overrides."""
    verifier = PasswordVerifier(Remote([]), ThreadPool(threads=1), 0.01)

    with pytest.raises(BackendUnavailable) as caught:
        await verifier.find("alice")

    assert caught.value.reason is STORE_TIMEOUT
