"""Verifying a password costs the same for every name, and which stored hash is verified for an unknown one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from authguard.accounts.account import NOT_NOW, Account, NotNow
from authguard.accounts.memory import MemoryUsers, UserLookup
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
    """A password verifier with one thread."""
    return PasswordVerifier(store, ThreadPool(threads=1, waiting=1000, deadline=60), 60)


def crowd(size: int) -> list[Account]:
    """Accounts whose hashes are of four formats."""
    return [Account(f"user{number}", f"${FORMATS[number % 4]}$pw{number}") for number in range(size)]


async def decoy_of(judge: PasswordVerifier, hasher: SpyHasher, username: str) -> str:
    """The stored hash that the password of an unknown name was verified against."""
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
    """Every failed login has a reason of its own and costs one verification, whether the store shows its hashes
    or not."""
    hasher = SpyHasher()
    judge = verifier(memory_users(hasher=hasher) if sampled else Users(ALICE, hasher=hasher))

    outcome = await judge.verify("somebody", password, account)

    assert outcome == answer
    assert [given for given, _ in hasher.verified] == [password]


async def test_for_an_unreadable_hash_another_one_is_verified() -> None:
    """If a hash is unreadable, another account's hash is verified, so that the response takes as long as any other."""
    hasher = SpyHasher()
    judge = verifier(memory_users(hasher=hasher))

    await judge.verify("svc", "locked", LOCKED)

    assert hasher.verified[0][1] in {ALICE.password_hash, MALLORY.password_hash}


async def test_hashes_are_read_in_the_pool_and_a_store_is_asked_outside_of_it() -> None:
    """To read a hash takes as long on the event loop as a whole request. A store of the app may have data that only the
    thread of the event loop may use; it is asked for each name without a hash, because its hashes may have changed."""
    calls: list[tuple[str, bool]] = []

    def note(call: str) -> None:
        calls.append((call, threading.current_thread().name.startswith("authguard-")))

    class Hasher(SpyHasher):
        def reads(self, stored: str) -> bool:
            note("reads")
            return super().reads(stored)

    class Store(MemoryUsers):
        def sample(self) -> Sequence[str]:
            note("sample")
            return [ALICE.password_hash]

    judge = verifier(Store([ALICE], hasher=Hasher()))
    seen = []
    for account in (ALICE, NOBODY, LOCKED):
        calls.clear()
        await judge.verify("somebody", "wonderland", account)
        seen.append(calls[:])

    assert seen == [
        [("reads", True)],
        [("sample", False), ("reads", True)],
        [("reads", True), ("reads", True)],
    ]


async def test_an_unknown_name_is_verified_against_a_stored_hash_and_always_the_same() -> None:
    """An unknown name is always verified against the same stored hash, because a changing cost would give it away."""
    hasher = SpyHasher()
    judge = verifier(memory_users(*crowd(40), hasher=hasher))
    stored = {account.password_hash for account in crowd(40)}

    first = [await decoy_of(judge, hasher, f"nobody{number}") for number in range(20)]
    again = [await decoy_of(judge, hasher, f"nobody{number}") for number in range(20)]

    assert first == again
    assert set(first) <= stored
    assert len(set(first)) > 5


async def picks_of(*accounts: Account) -> list[int]:
    """The positions of the hashes that are picked for some names, in a store with so many hashes."""
    hasher = SpyHasher()
    judge = verifier(memory_users(*accounts, hasher=hasher))
    stored = [account.password_hash for account in accounts]
    return [stored.index(await decoy_of(judge, hasher, f"nobody{number}")) for number in range(20)]


async def test_all_worker_processes_pick_the_same() -> None:
    """All worker processes pick the same hash for a name, so that its cost does not depend on the process."""
    assert await picks_of(*crowd(1000)) == await picks_of(*crowd(1000))


async def test_which_hash_is_picked_cannot_be_computed_outside() -> None:
    """The name is hashed with a key that only the password file contains."""
    assert await picks_of(*crowd(1000)) != await picks_of(Account("first", "$fast$other"), *crowd(1000)[1:])


async def test_unknown_names_are_spread_over_the_formats_as_known_ones_are() -> None:
    """In a file of four formats, a quarter of the unknown names costs what each format costs."""
    hasher = SpyHasher()
    judge = verifier(memory_users(*crowd(400), hasher=hasher))

    kinds = Counter([(await decoy_of(judge, hasher, f"nobody{n}")).split("$")[1] for n in range(400)])

    assert set(kinds) == set(FORMATS)
    assert all(60 <= number <= 140 for number in kinds.values()), kinds


async def test_one_more_user_changes_few_picks() -> None:
    """A new user changes few picks. If all of them changed, a changed cost would give unknown names away."""
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
def test_the_jump_hash_matches_other_implementations(key: int, places: int, place: int) -> None:
    """The jump consistent hash gives the values of other implementations, so it moves as few names as its paper
    proves."""
    assert jump_hash(key, places) == place


async def test_an_unreadable_sample_is_skipped() -> None:
    """An unreadable hash is not picked for an unknown name, because not verifying it would answer too soon."""
    hasher = SpyHasher()

    class Mixed(Users):
        def sample(self) -> list[str]:
            return ["$odd$x", "!locked", "$fast$good", "", "plain"]

    judge = verifier(Mixed(hasher=hasher))

    assert {await decoy_of(judge, hasher, f"nobody{number}") for number in range(20)} == {"$fast$good"}


@pytest.mark.parametrize("sample", [[], ["$odd$x"], [""], ["!"] * 100_000 + ["$fast$far away"]], ids=len)
async def test_without_a_readable_hash_one_is_made(sample: list[str]) -> None:
    """If no stored hash can be read, one is made once, and the search stops early to spare the event loop."""
    hasher = SpyHasher()

    class Odd(Users):
        def sample(self) -> list[str]:
            return sample

    judge = verifier(Odd(hasher=hasher))

    picks = {await decoy_of(judge, hasher, f"nobody{number}") for number in range(5)}

    assert picks == {f"$new${hasher.hashed[0]}"}
    assert len(hasher.hashed) == 1
    assert hasher.count == 5


async def test_a_store_without_a_sample_uses_the_hashes_that_were_seen() -> None:
    """Without a sample, unknown names are verified against the first hashes that were seen at logins, right or
    wrong."""
    hasher = SpyHasher()
    judge = verifier(Users(hasher=hasher))
    accounts = crowd(MOST_SEEN + 50)
    for account in accounts:
        await judge.verify(account.subject, "wrong", account)

    picks = {await decoy_of(judge, hasher, f"nobody{number}") for number in range(200)}

    assert picks <= {account.password_hash for account in accounts[:MOST_SEEN]}
    assert len(picks) > MOST_SEEN // 2
    assert hasher.hashed == []


async def test_the_decoys_of_a_lookup_serve_from_the_start() -> None:
    """Before anybody known has logged in, and afterwards too, an unknown name costs what the database's hashes cost."""
    hasher, decoys = SpyHasher(), ["$slow$one", "$slow$two"]
    store = UserLookup(Users(ALICE, hasher=hasher).find, hasher=hasher, decoys=decoys)
    judge = verifier(store)
    names = [f"nobody{number}" for number in range(20)]

    before = [await decoy_of(judge, hasher, name) for name in names]
    assert await judge.verify("alice", "wonderland", ALICE) == ALICE
    after = [await decoy_of(judge, hasher, name) for name in names]

    assert (set(before), after) == (set(decoys), before)
    assert hasher.hashed == []


async def test_a_lookup_without_decoys_uses_the_hashes_that_were_seen() -> None:
    """Until then it uses a hash in the hasher's own format."""
    hasher = SpyHasher()
    judge = verifier(UserLookup(Users(ALICE, hasher=hasher).find, hasher=hasher))

    first = await decoy_of(judge, hasher, "nobody")
    await judge.verify("alice", "wonderland", ALICE)

    assert (first, await decoy_of(judge, hasher, "nobody")) == (f"$new${hasher.hashed[0]}", ALICE.password_hash)


def test_decoys_that_block_the_interpreter_are_named() -> None:
    """They are like the hashes of the database, so the warning comes while the app is built."""
    hasher = SpyHasher()

    judge = verifier(UserLookup(Users(hasher=hasher).find, hasher=hasher, decoys=["$slow$one"]))

    assert judge.gil_blocking_formats() == ["$slow$"]


async def test_a_new_hash_is_made_where_the_stored_one_is_outdated() -> None:
    """A new hash is made, in the thread pool, only after a right password whose stored hash is outdated."""
    hasher = SpyHasher()
    judge = verifier(memory_users(hasher=hasher))

    renewed = [await judge.rehash("wonderland", account) for account in (ALICE, Account("bob", "$old$wonderland"))]

    assert renewed == [None, "$new$wonderland"]


def test_the_formats_that_block_the_interpreter_are_named() -> None:
    """The warning names each format by its known prefix, and shows no part of a hash of another form."""
    hashes = ["$slow$a", "$fast$b", "$slow-512$c", "$slow$d", "$Sslow$e", "slow", "$fast$slow$"]
    store = memory_users(*[Account(f"user{number}", "$fast$x") for number in range(len(hashes))])
    store._sample = tuple(hashes)

    assert verifier(store).gil_blocking_formats() == ["$fast$", "$slow$", "$slow-512$", "another format"]


def test_a_large_file_is_sampled() -> None:
    """Of a large file only some hashes, spread over all of it, are examined at the start."""
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
async def test_the_answer_of_a_directory_is_final(answer: Account | Reason) -> None:
    """A store that checks passwords itself is asked once, without a look-up before it."""
    ldap = Ldap(answer)
    judge = DirectoryVerifier(ldap, 60)

    assert await judge.find("alice") is None
    assert await judge.verify("alice", "wonderland", None) is answer
    assert ldap.calls == [("alice", "wonderland")]


async def test_a_directory_is_never_asked_about_an_empty_password() -> None:
    """An empty password is rejected without asking, because to LDAP it is an anonymous bind, which succeeds."""
    ldap = Ldap(ALICE)

    assert await DirectoryVerifier(ldap, 60).verify("alice", "", None) is PASSWORD_EMPTY
    assert ldap.calls == []


async def test_a_directory_may_return_an_outage_as_a_reason() -> None:
    """A directory that returns the reason of an outage, instead of raising it, is an outage too."""
    with pytest.raises(BackendUnavailable) as caught:
        await DirectoryVerifier(Ldap(STORE_UNAVAILABLE), 60).verify("alice", "wonderland", None)

    assert caught.value.reason is STORE_UNAVAILABLE


class HungStore(Users):
    """A store that never answers."""

    async def find(self, username: str) -> Account | None:
        await anyio.sleep_forever()
        return None

    async def check(self, username: str, password: str) -> Account | Reason:
        await self.find(username)
        return ALICE


async def test_a_store_and_a_directory_have_a_deadline() -> None:
    """A store or a directory that misses the deadline is an outage."""
    hung = HungStore()
    pool = ThreadPool(threads=1)

    with pytest.raises(BackendUnavailable) as store:
        await PasswordVerifier(hung, pool, 0.01).find("alice")
    with pytest.raises(BackendUnavailable) as directory:
        await DirectoryVerifier(hung, 0.01).verify("alice", "wonderland", None)

    assert [caught.value.reason for caught in (store, directory)] == [STORE_TIMEOUT] * 2


class SlowStore(Users):
    """A store that answers at once if the test says so; otherwise it takes longer than the deadline."""

    def __init__(self, *, at_hand: bool) -> None:
        super().__init__(ALICE)
        self.answers_at_once = at_hand

    async def find(self, username: str) -> Account | None:
        await anyio.sleep(0.05)
        return await super().find(username)

    def find_now(self, username: str) -> Account | NotNow | None:
        return ALICE if self.answers_at_once else NOT_NOW


async def test_an_immediate_answer_is_taken_without_a_timer() -> None:
    """If the store can answer at once, no timer runs, because the deadline costs more than the answer."""
    slow = SlowStore(at_hand=True)
    verifier = PasswordVerifier(slow, ThreadPool(threads=1), 0.001)

    account = await verifier.find("alice")
    slow.answers_at_once = False
    with pytest.raises(BackendUnavailable):
        await verifier.find("alice")

    assert account is ALICE


class RemoteStore(MemoryUsers):
    """A store in memory whose ``find`` is overridden by a remote look-up."""

    async def find(self, username: str) -> Account | None:
        await anyio.sleep_forever()
        return None


async def test_an_overridden_look_up_has_a_deadline() -> None:
    """A subclass that overrides ``find`` does not inherit the promise that its answer is immediate."""
    verifier = PasswordVerifier(RemoteStore([]), ThreadPool(threads=1), 0.01)

    with pytest.raises(BackendUnavailable) as caught:
        await verifier.find("alice")

    assert caught.value.reason is STORE_TIMEOUT
