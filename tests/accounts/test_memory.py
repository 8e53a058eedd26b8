"""Accounts, and stores of them in memory and as functions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from authguard.accounts.account import Account, PasswordCheck, PasswordStore, SampledStore, Verdict
from authguard.accounts.memory import Find, MemoryUsers, UserLookup
from authguard.accounts.password_hashes import LibpassHasher
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import STORE_UNAVAILABLE

HASH = "$2y$04$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2"  # "a"
SHA = "{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g="  # "a"

ALICE = Account("alice", HASH, roles={"admin"}, scopes=["read"], claims={"mail": "alice@example.com"})


async def test_an_account_is_found_by_its_name() -> None:
    """The store returns the account unchanged, and None for every other name."""
    store = MemoryUsers([ALICE, Account("bob", SHA)])

    assert await store.find("alice") is ALICE
    assert await store.find("Alice") is None
    assert await store.find("") is None


async def test_a_name_is_found_in_whatever_form_it_was_written() -> None:
    """Names are compared in NFC, so an account whose name was written decomposed is found."""
    store = MemoryUsers([Account("ame\u0301lie", HASH)])

    account = await store.find("am\u00e9lie")

    assert account is not None
    assert store.hasher.verify("a", account.password_hash) is Verdict.MATCH


def test_the_sample_of_a_store_holds_all_its_hashes() -> None:
    """The sample, against which unknown names are verified, holds the hashes of all accounts, in a stable order."""
    store = MemoryUsers([ALICE, Account("bob", SHA)])

    assert store.sample() == (HASH, SHA)
    assert MemoryUsers([]).sample() == ()


@pytest.mark.parametrize("accounts", [{"alice": HASH}, ["alice"], [ALICE, None], ALICE, None, "alice"])
def test_an_invalid_list_of_accounts_raises(accounts: Any) -> None:
    """A value that is not a list of accounts, such as a mapping of names to hashes, raises and shows what to write."""
    with pytest.raises(ConfigurationError, match=r"^accounts: give a list of accounts: ") as caught:
        MemoryUsers(accounts)

    assert HASH not in str(caught.value)


@pytest.mark.parametrize("names", [("alice", "alice"), ("am\u00e9lie", "ame\u0301lie")])
def test_a_repeated_name_raises(names: tuple[str, str]) -> None:
    """Two accounts with one name raise."""
    with pytest.raises(ConfigurationError, match="twice") as caught:
        MemoryUsers([Account(name, HASH) for name in names])

    assert caught.value.argument == "accounts"


async def test_an_account_without_a_password_is_accepted() -> None:
    """An account without a password is found like any other, and gives the sample no hash."""
    store = MemoryUsers([ALICE, Account("robot", "")])

    assert await store.find("robot") == Account("robot", "")
    assert store.sample() == (HASH,)


@pytest.mark.parametrize("stored", ["$1$salt$secretsecret", HASH[:-1], "hunter2"])
def test_an_unreadable_hash_raises_while_the_app_is_built(stored: str) -> None:
    """The error names the user, who could never log in, and does not quote the hash."""
    with pytest.raises(ConfigurationError, match="alice") as caught:
        MemoryUsers([Account("alice", stored)])

    assert caught.value.argument == "accounts"
    assert stored == "" or stored not in str(caught.value)


def test_a_hasher_may_be_given() -> None:
    """Both stores accept a hasher. The default reads the hashes of htpasswd and passlib."""
    plain = LibpassHasher(allow={"plaintext"})

    assert MemoryUsers([Account("alice", "secret")], hasher=plain).hasher is plain
    assert UserLookup(_find, hasher=plain).hasher is plain
    assert isinstance(UserLookup(_find).hasher, LibpassHasher)


async def _find(username: str) -> Account | None:
    return ALICE if username == "alice" else None


class Database:
    async def find(self, username: str) -> Account | None:
        return await _find(username)

    async def __call__(self, username: str) -> Account | None:
        return await _find(username)

    def later(self, username: str) -> asyncio.Future[Account | None]:
        future: asyncio.Future[Account | None] = asyncio.get_running_loop().create_future()
        future.set_result(ALICE if username == "alice" else None)
        return future


async def _asked(prefix: str, username: str) -> Account | None:
    return await _find(username.removeprefix(prefix))


@pytest.mark.parametrize(
    "find",
    [_find, Database().find, Database(), partial(_asked, ""), lambda username: _asked("", username)],
    ids=["function", "method", "object", "partial", "lambda"],
)
async def test_any_async_callable_is_a_store(find: Find) -> None:
    """A function, a method, an object and a partial are stores, if they take a name and return an awaitable."""
    store = UserLookup(find)

    assert await store.find("alice") is ALICE
    assert await store.find("bob") is None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_callable_may_return_an_awaitable(anyio_backend: str) -> None:
    """A callable that is not async may return an awaitable."""
    assert await UserLookup(Database().later).find("alice") is ALICE


async def test_an_outage_of_the_callable_is_an_outage() -> None:
    """An error of the callable is passed on unchanged."""
    outage = BackendUnavailable("no connection", reason=STORE_UNAVAILABLE)

    async def find(username: str) -> Account | None:
        raise outage

    with pytest.raises(BackendUnavailable) as caught:
        await UserLookup(find).find("alice")

    assert caught.value is outage


def test_a_value_that_is_not_callable_raises() -> None:
    """A coroutine in place of its function raises while the app is built."""
    not_a_function: Any = "SELECT * FROM users"

    with pytest.raises(ConfigurationError) as caught:
        UserLookup(not_a_function)

    assert caught.value.argument == "find"


def test_both_stores_have_a_sample_of_hashes() -> None:
    """Each is recognized as a store with a sample, and not as a directory. A lookup without decoys has none to show."""
    users, lookup = MemoryUsers([ALICE]), UserLookup(_find)

    for store in (users, lookup):
        assert isinstance(store, PasswordStore)
        assert isinstance(store, SampledStore)
        assert not isinstance(store, PasswordCheck)
    assert lookup.sample() == ()


def test_the_sample_of_a_lookup_holds_its_decoys() -> None:
    """They are hashes of any format that the hasher reads, in the order in which they are given."""
    assert UserLookup(_find, decoys=iter([SHA, HASH])).sample() == (SHA, HASH)


@pytest.mark.parametrize("decoys", [HASH, HASH.encode(), None, 7])
def test_decoys_come_in_a_list(decoys: Any) -> None:
    """One hash by itself is a list that was forgotten."""
    with pytest.raises(
        ConfigurationError, match=r"^decoys: give a list of hashes like those in the database"
    ) as caught:
        UserLookup(_find, decoys=decoys)

    assert HASH not in str(caught.value)


@pytest.mark.parametrize("decoy", ["$1$salt$secretsecret", HASH[:-1], "hunter2", "", None, HASH.encode()])
def test_an_unreadable_decoy_raises_while_the_app_is_built(decoy: Any) -> None:
    """It would cost nothing to verify. The error says which one it is, and does not quote it."""
    with pytest.raises(ConfigurationError, match=r"^decoys: the hasher cannot read number 2; ") as caught:
        UserLookup(_find, decoys=[HASH, decoy])

    assert not decoy or str(decoy) not in str(caught.value)


def test_an_account_shows_neither_its_hash_nor_its_claims() -> None:
    """The repr of an account, and of a store, may be logged: it shows neither hashes nor claims."""
    text = repr(ALICE)

    assert "alice" in text
    assert HASH not in text
    assert "example.com" not in text
    assert HASH not in repr(MemoryUsers([ALICE]))


@pytest.mark.parametrize(
    ("argument", "account"),
    [
        ("subject", {"subject": ""}),
        ("subject", {"subject": None}),
        ("password_hash", {"password_hash": None}),
        ("password_hash", {"password_hash": b"$2y$"}),
        ("claims", {"claims": None}),
        ("claims", {"claims": [("mail", "a@example.org")]}),
        ("roles", {"roles": "admin"}),
        ("roles", {"roles": [" "]}),
        ("scopes", {"scopes": "read"}),
    ],
)
def test_an_account_is_checked_as_it_is_made(argument: str, account: dict[str, Any]) -> None:
    """An empty name, a hash that is no string, and roles that are one string raise and name the argument."""
    with pytest.raises(ConfigurationError) as caught:
        Account(**{"subject": "alice", "password_hash": HASH, **account})

    assert caught.value.argument == argument


def test_an_account_may_have_no_password() -> None:
    """No password fits an empty hash. It is for users who log in by other means."""
    account = Account("alice", "")

    assert LibpassHasher(allow={"plaintext"}).verify("", account.password_hash) is Verdict.UNREADABLE


def test_an_account_cannot_be_changed() -> None:
    """An account is frozen, and its roles become a frozen set."""
    account = Account("alice", HASH, roles=["admin", "admin"])

    with pytest.raises(AttributeError):
        account.disabled = True  # type: ignore[misc]

    assert account.roles == frozenset({"admin"})
    assert account == Account("alice", HASH, roles={"admin"})
    assert not account.disabled
