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
    """The store gives the account as it was given, and None for every other name."""
    store = MemoryUsers([ALICE, Account("bob", SHA)])

    assert await store.find("alice") is ALICE
    assert await store.find("Alice") is None
    assert await store.find("") is None


async def test_a_name_is_found_in_whatever_form_it_was_written() -> None:
    """Names come composed from the wire: an account whose name was written decomposed is found all the same."""
    store = MemoryUsers([Account("ame\u0301lie", HASH)])

    account = await store.find("am\u00e9lie")

    assert account is not None
    assert store.hasher.verify("a", account.password_hash) is Verdict.MATCH


def test_a_store_shows_all_its_hashes() -> None:
    """What an unknown name is measured against is what the known ones have, in a stable order."""
    store = MemoryUsers([ALICE, Account("bob", SHA)])

    assert store.sample() == (HASH, SHA)
    assert MemoryUsers([]).sample() == ()


@pytest.mark.parametrize("accounts", [{"alice": HASH}, ["alice"], [ALICE, None], ALICE, None, "alice"])
def test_what_is_no_list_of_accounts_is_told(accounts: Any) -> None:
    """A mapping of names to hashes is the commonest, and the error shows what to write."""
    with pytest.raises(ConfigurationError, match=r"^accounts: give a list of accounts: ") as caught:
        MemoryUsers(accounts)

    assert HASH not in str(caught.value)


@pytest.mark.parametrize("names", [("alice", "alice"), ("am\u00e9lie", "ame\u0301lie")])
def test_a_name_stands_once(names: tuple[str, str]) -> None:
    """Which of two accounts of one name is meant is not guessed."""
    with pytest.raises(ConfigurationError, match="twice") as caught:
        MemoryUsers([Account(name, HASH) for name in names])

    assert caught.value.argument == "accounts"


async def test_an_account_without_a_password_may_stand_in_memory() -> None:
    """It is found as any other, and lends no hash to names that are unknown."""
    store = MemoryUsers([ALICE, Account("robot", "")])

    assert await store.find("robot") == Account("robot", "")
    assert store.sample() == (HASH,)


@pytest.mark.parametrize("stored", ["$1$salt$secretsecret", HASH[:-1], "plain"])
def test_a_hash_that_cannot_be_read_is_found_out_while_the_app_is_built(stored: str) -> None:
    """A user who could never log in is named before the first request, and the hash is not quoted."""
    with pytest.raises(ConfigurationError, match="alice") as caught:
        MemoryUsers([Account("alice", stored)])

    assert caught.value.argument == "accounts"
    assert stored == "" or stored not in str(caught.value)


def test_a_hasher_may_be_given() -> None:
    """Both stores take what reads their hashes; without one they read what htpasswd and passlib write."""
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
    """A function, a method, an object, a partial: whatever takes a name and can be awaited."""
    store = UserLookup(find)

    assert await store.find("alice") is ALICE
    assert await store.find("bob") is None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_a_callable_gives_may_be_a_future(anyio_backend: str) -> None:
    """A callable that is not async itself may give what is awaited."""
    assert await UserLookup(Database().later).find("alice") is ALICE


async def test_an_outage_of_the_callable_is_an_outage() -> None:
    """What the function raises is not touched on the way."""
    outage = BackendUnavailable("no connection", reason=STORE_UNAVAILABLE)

    async def find(username: str) -> Account | None:
        raise outage

    with pytest.raises(BackendUnavailable) as caught:
        await UserLookup(find).find("alice")

    assert caught.value is outage


def test_what_is_no_callable_is_refused() -> None:
    """A coroutine in place of its function is found out while the app is built."""
    not_a_function: Any = "SELECT * FROM users"

    with pytest.raises(ConfigurationError) as caught:
        UserLookup(not_a_function)

    assert caught.value.argument == "find"


def test_the_stores_are_told_apart_by_what_they_can() -> None:
    """A store that can show its hashes is known as one; a function cannot."""
    users, lookup = MemoryUsers([ALICE]), UserLookup(_find)

    assert isinstance(users, PasswordStore)
    assert isinstance(users, SampledStore)
    assert isinstance(lookup, PasswordStore)
    assert not isinstance(lookup, SampledStore)
    assert not isinstance(users, PasswordCheck)


def test_an_account_shows_neither_its_hash_nor_its_claims() -> None:
    """The repr of an account, and of a store of them, may stand in a log."""
    shown = repr(ALICE)

    assert "alice" in shown
    assert HASH not in shown
    assert "example.com" not in shown
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
    """An empty name, a hash that is none, and a string of roles are named by their argument."""
    with pytest.raises(ConfigurationError) as caught:
        Account(**{"subject": "alice", "password_hash": HASH, **account})

    assert caught.value.argument == argument


def test_an_account_may_have_no_password() -> None:
    """An empty hash is for those who log in otherwise: no password fits it."""
    account = Account("alice", "")

    assert LibpassHasher(allow={"plaintext"}).verify("", account.password_hash) is Verdict.UNREADABLE


def test_an_account_cannot_be_changed() -> None:
    """What a store gave stays as it gave it, and roles are a set whatever they were given as."""
    account = Account("alice", HASH, roles=["admin", "admin"])

    with pytest.raises(AttributeError):
        account.disabled = True  # type: ignore[misc]

    assert account.roles == frozenset({"admin"})
    assert account == Account("alice", HASH, roles={"admin"})
    assert not account.disabled
