"""Digest accounts and stores of them: how accounts are found, and which set-ups raise."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import Any

import pytest

from authguard.accounts.account import Account, PasswordStore, RolesListed
from authguard.accounts.digest_account import DigestAccount, DigestStore, digest_ha1
from authguard.accounts.digest_memory import DigestLookup, MemoryDigests
from authguard.errors import BackendUnavailable, ConfigurationError, WrongAnswer
from authguard.reasons import STORE_UNAVAILABLE

BCRYPT = "$2y$04$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2"
PASSWORD = "correct horse"
SHA = digest_ha1("alice", "orders", PASSWORD)
MD5 = digest_ha1("alice", "orders", PASSWORD, "MD5")
OTHER = "0" * 64

ALICE = DigestAccount("alice", SHA, roles={"admin"}, scopes=["read"], claims={"mail": "alice@example.com"})


def _hashed(name: str, realm: str = "orders") -> str:
    return hashlib.sha256(f"{name}:{realm}".encode()).hexdigest()


async def _find_in(
    store: DigestStore, username: str, realm: str = "orders", algorithm: str = "SHA-256", *, hashed: bool = False
) -> DigestAccount | None:
    return await store.find(username, realm=realm, algorithm=algorithm, hashed=hashed)


async def test_an_account_is_found_by_its_name() -> None:
    """An account is found by name, realm and algorithm. For any other combination the result is None."""
    store = MemoryDigests([ALICE, DigestAccount("bob", OTHER)], realm="orders")

    assert await _find_in(store, "alice") is ALICE
    assert await _find_in(store, "Alice") is None
    assert await _find_in(store, "") is None
    assert await _find_in(store, "alice", realm="billing") is None
    assert await _find_in(store, "alice", algorithm="SHA-512-256") is None


@pytest.mark.rfc("7616-12")
async def test_an_account_is_found_by_the_hash_of_its_name() -> None:
    """RFC 7616 section 3.4.4: an account is found by the hash of its name. A name is not found as its own hash."""
    store = MemoryDigests([ALICE, DigestAccount("bob", OTHER)], realm="orders")

    assert store.finds_hashed
    assert await _find_in(store, _hashed("alice"), hashed=True) is ALICE
    assert await _find_in(store, _hashed("carol"), hashed=True) is None
    assert await _find_in(store, _hashed("alice", "billing"), hashed=True) is None
    assert await _find_in(store, _hashed("alice")) is None
    assert await _find_in(store, "alice", hashed=True) is None


async def test_a_name_and_a_realm_are_found_in_whatever_form_they_were_written() -> None:
    """Names and realms are compared in NFC."""
    amelie = DigestAccount("ame\u0301lie", OTHER)
    store = MemoryDigests([amelie], realm="cafe\u0301")

    assert await _find_in(store, "am\u00e9lie", "caf\u00e9") is amelie
    assert await _find_in(store, "am\u00e9lie", "cafe\u0301") is amelie
    assert await _find_in(store, _hashed("am\u00e9lie", "caf\u00e9"), "caf\u00e9", hashed=True) is amelie


@pytest.mark.parametrize("accounts", [{"alice": SHA}, ["alice"], [ALICE, None], ALICE, None, "alice", 7])
def test_an_invalid_list_of_accounts_raises(accounts: Any) -> None:
    """An invalid list of accounts raises, and the error shows what to write."""
    with pytest.raises(ConfigurationError, match=r"^accounts: give a list of accounts: ") as caught:
        MemoryDigests(accounts, realm="orders")

    assert SHA not in str(caught.value)


def test_an_account_with_a_password_hash_raises() -> None:
    """An account with a password hash raises: Digest cannot use it, and the password has to be set anew."""
    accounts: Any = [Account("alice", BCRYPT)]

    with pytest.raises(
        ConfigurationError, match=r"^accounts: a password hash cannot serve Digest: .*digest_ha1"
    ) as caught:
        MemoryDigests(accounts, realm="orders")

    assert BCRYPT not in str(caught.value)


@pytest.mark.parametrize("names", [("alice", "alice"), ("am\u00e9lie", "ame\u0301lie")])
def test_a_repeated_name_raises(names: tuple[str, str]) -> None:
    """Two accounts with one name raise."""
    with pytest.raises(ConfigurationError, match="is listed twice") as caught:
        MemoryDigests([DigestAccount(name, OTHER) for name in names], realm="orders")

    assert caught.value.argument == "accounts"


@pytest.mark.parametrize(("algorithm", "digest"), [("SHA-256", MD5), ("SHA-512-256", MD5), ("MD5", SHA)])
def test_a_digest_is_as_long_as_its_algorithm_says(algorithm: str, digest: str) -> None:
    """A digest of the wrong length raises while the app is built, names the user, and is not quoted."""
    with pytest.raises(
        ConfigurationError, match=r"^accounts: 'alice': its H\(A1\) has \d+ digits, and one of"
    ) as caught:
        MemoryDigests([DigestAccount("alice", digest)], realm="orders", algorithm=algorithm)

    assert digest not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("realm", {"realm": 'or"ders'}),
        ("realm", {"realm": ""}),
        ("algorithm", {"algorithm": "SHA-256-sess"}),
        ("algorithm", {"algorithm": "bcrypt"}),
    ],
)
def test_a_realm_and_an_algorithm_are_checked_while_the_app_is_built(argument: str, given: dict[str, str]) -> None:
    """An invalid realm or algorithm raises, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        MemoryDigests([], **{"realm": "orders", **given})

    assert caught.value.argument == argument


def test_a_store_lists_what_it_holds() -> None:
    """The store lists its realm with its algorithm, if it has accounts, and the roles of all accounts."""
    store = MemoryDigests([ALICE, DigestAccount("bob", OTHER, roles={"staff"})], realm="orders")

    assert store.realms_held() == {("orders", "SHA-256")}
    assert store.roles_given() == {"admin", "staff"}
    assert MemoryDigests([], realm="orders").realms_held() == set()
    assert MemoryDigests([DigestAccount("alice", MD5)], realm="orders", algorithm="MD5").realms_held() == {
        ("orders", "MD5")
    }


async def test_digests_are_made_of_passwords_in_cleartext() -> None:
    """``of_cleartext`` makes digests for each algorithm, with the roles of a mapping. Names are compared in NFC."""
    store = MemoryDigests.of_cleartext(
        {"alice": PASSWORD, "ame\u0301lie": "p\u00e4ssword"},
        realm="orders",
        algorithms=("SHA-256", "MD5"),
        groups={"admin": ["alice"], "staff": ["alice", "am\u00e9lie"]},
    )

    assert await _find_in(store, "alice") == DigestAccount("alice", SHA, roles={"admin", "staff"})
    assert await _find_in(store, "alice", algorithm="MD5") == DigestAccount("alice", MD5, roles={"admin", "staff"})
    amelie = await _find_in(store, "am\u00e9lie")
    assert amelie is not None
    assert amelie.ha1 == digest_ha1("am\u00e9lie", "orders", "p\u00e4ssword")
    assert amelie.roles == {"staff"}
    assert await _find_in(store, _hashed("am\u00e9lie"), hashed=True) is amelie
    assert await _find_in(store, "alice", algorithm="SHA-512-256") is None
    assert store.realms_held() == {("orders", "SHA-256"), ("orders", "MD5")}
    assert store.roles_given() == {"admin", "staff"}


async def test_cleartext_is_hashed_with_sha_256_unless_more_is_asked_for() -> None:
    """By default ``of_cleartext`` uses SHA-256 alone and gives no roles."""
    store = MemoryDigests.of_cleartext({"alice": PASSWORD}, realm="orders")

    assert store.realms_held() == {("orders", "SHA-256")}
    assert await _find_in(store, "alice") == DigestAccount("alice", SHA)


def _reachable(value: object, seen: set[int]) -> list[object]:
    """All values that can be reached from this one through attributes, keys and items."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    inner: list[object] = [getattr(value, name) for name in getattr(type(value), "__slots__", ())]
    inner += getattr(value, "__dict__", {}).values()
    if isinstance(value, dict):
        inner += [*value.keys(), *value.values()]
    elif isinstance(value, tuple | list | set | frozenset):
        inner += value
    return [value, *(found for each in inner for found in _reachable(each, seen))]


@pytest.mark.rfc("7616-16")
def test_no_password_is_kept() -> None:
    """No password can be reached from the store, and no repr of it shows a digest."""
    password = "correct horse battery"
    store = MemoryDigests.of_cleartext({"alice": password}, realm="orders")
    reached = _reachable(store, set())

    assert digest_ha1("alice", "orders", password) in reached
    assert password not in reached
    assert digest_ha1("alice", "orders", password) not in repr(store) + repr(vars(store))


@pytest.mark.parametrize(
    ("argument", "given", "problem"),
    [
        ("users", {"users": [("alice", PASSWORD)]}, "give a mapping from names to passwords"),
        ("users", {"users": {"alice": ""}}, "'alice': the password must be a non-empty string"),
        ("users", {"users": {"alice": PASSWORD.encode()}}, "'alice': the password must be a non-empty string"),
        ("users", {"users": {"alice": f"{PASSWORD}\n"}}, "'alice': the password must not contain control characters"),
        ("users", {"users": {"al:ice": PASSWORD}}, "'al:ice': the username must not contain a colon"),
        ("users", {"users": {7: PASSWORD}}, "7: the username must be a non-empty string"),
        ("users", {"users": {"am\u00e9lie": PASSWORD, "ame\u0301lie": PASSWORD}}, "is listed twice"),
        ("realm", {"realm": "or\\ders"}, "clients read differently"),
        ("algorithms", {"algorithms": "SHA-256"}, "is one string"),
        ("algorithms", {"algorithms": ()}, "give at least one of SHA-256, SHA-512-256, MD5"),
        ("algorithms", {"algorithms": ("SHA-1",)}, "'SHA-1' is not one of"),
        ("groups", {"groups": {"admin": "alice"}}, "is one string"),
        ("groups", {"groups": {"admin": ["alice", "alcie"]}}, "'alcie' is not one of the users"),
        ("groups", {"groups": ["admin"]}, "give a mapping from a role to names"),
    ],
)
def test_an_invalid_cleartext_password_raises(argument: str, given: dict[str, Any], problem: str) -> None:
    """The error names the argument and the user. Neither it nor its cause contains the password."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        MemoryDigests.of_cleartext(**{"users": {"alice": PASSWORD}, "realm": "orders", **given})

    assert caught.value.argument == argument
    assert "horse" not in str(caught.value)
    assert caught.value.__context__ is None


async def _find(username: str, *, realm: str, algorithm: str) -> DigestAccount | None:
    return ALICE if (username, realm, algorithm) == ("alice", "orders", "SHA-256") else None


async def _find_hashed(userhash: str, *, realm: str, algorithm: str) -> DigestAccount | None:
    return ALICE if (userhash, realm, algorithm) == (_hashed("alice"), "orders", "SHA-256") else None


class Database:
    async def find(self, username: str, realm: str, algorithm: str) -> DigestAccount | None:
        return await _find(username, realm=realm, algorithm=algorithm)

    async def __call__(self, name: str, **asked: str) -> DigestAccount | None:
        return await _find(name, **asked)

    def later(self, username: str, *, realm: str, algorithm: str) -> asyncio.Future[DigestAccount | None]:
        future: asyncio.Future[DigestAccount | None] = asyncio.get_running_loop().create_future()
        future.set_result(ALICE if username == "alice" else None)
        return future


async def _asked(prefix: str, username: str, *, realm: str, algorithm: str) -> DigestAccount | None:
    return await _find(username.removeprefix(prefix), realm=realm, algorithm=algorithm)


@pytest.mark.parametrize(
    "find",
    [_find, Database().find, Database(), partial(_asked, ""), lambda name, **asked: _asked("", name, **asked)],
    ids=["function", "method", "object", "partial", "lambda"],
)
async def test_any_async_callable_is_a_store(find: Any) -> None:
    """Any callable that takes a name, a realm and an algorithm, and returns an awaitable, is a store."""
    store = DigestLookup(find)

    assert await _find_in(store, "alice") is ALICE
    assert await _find_in(store, "bob") is None
    assert await _find_in(store, "alice", realm="billing") is None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_callable_may_return_an_awaitable(anyio_backend: str) -> None:
    """A callable that is not async may return an awaitable."""
    assert await _find_in(DigestLookup(Database().later), "alice") is ALICE


async def test_a_hashed_name_is_found_by_a_function_of_its_own() -> None:
    """Without a function for hashed names, ``userhash`` is not offered and no hash is found."""
    plain, both = DigestLookup(_find), DigestLookup(_find, _find_hashed)

    assert (plain.finds_hashed, both.finds_hashed) == (False, True)
    assert await _find_in(plain, _hashed("alice"), hashed=True) is None
    assert await _find_in(plain, "alice", hashed=True) is None
    assert await _find_in(both, _hashed("alice"), hashed=True) is ALICE
    assert await _find_in(both, "alice", hashed=True) is None
    assert await _find_in(both, "alice") is ALICE


@pytest.mark.parametrize("error", [BackendUnavailable("no connection", reason=STORE_UNAVAILABLE), KeyError("alice")])
async def test_what_the_callable_raises_passes_through(error: Exception) -> None:
    """An error of the callable is passed on unchanged."""

    async def find(username: str, *, realm: str, algorithm: str) -> DigestAccount | None:
        raise error

    with pytest.raises(type(error)) as caught:
        await _find_in(DigestLookup(find), "alice")

    assert caught.value is error


async def test_an_account_of_another_algorithm_counts_as_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """An account of another algorithm counts as unknown and is logged once, because an outage would reveal that it
    exists."""

    async def find(username: str, *, realm: str, algorithm: str) -> DigestAccount:
        return DigestAccount(username, MD5)

    lookup = DigestLookup(find)

    assert [await _find_in(lookup, "alice"), await _find_in(lookup, "alice")] == [None, None]
    (message,) = caplog.messages
    assert message.endswith("its H(A1) has 32 digits, and one of SHA-256 has 64")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            Account("alice", BCRYPT),
            r"find \(accounts/test_digest_account.py:\d+\) returned a Account; return a DigestAccount: a password hash",
        ),
        (SHA, "find .* returned a str; return a DigestAccount, or None"),
        (False, "find .* returned a bool; return a DigestAccount, or None"),
    ],
)
@pytest.mark.parametrize("hashed", [False, True])
async def test_a_result_that_is_no_digest_account_is_an_outage(answer: Any, problem: str, hashed: bool) -> None:
    """A result that is not a ``DigestAccount`` is an outage: the client neither gets in nor learns that its name is
    unknown."""

    async def find(username: str, *, realm: str, algorithm: str) -> Any:
        return answer

    with pytest.raises(WrongAnswer, match=problem) as caught:
        await _find_in(DigestLookup(find, find), "alice", hashed=hashed)

    assert [secret for secret in (BCRYPT, SHA, MD5) if secret in caught.value.problem] == []


async def _find_user(username: str) -> Account | None:
    return None


@pytest.mark.parametrize("argument", ["find", "find_hashed"])
@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("SELECT * FROM users", r"is not an async function: async def find\(name, \*, realm, algorithm\)"),
        (_find_user, r"_find_user .* is called as find\(name, \*, realm, algorithm\): .*'realm'"),
        (lambda: None, r"<lambda> .* is called as find\(name, \*, realm, algorithm\): too many"),
    ],
)
def test_a_callable_with_a_wrong_signature_raises(argument: str, function: Any, problem: str) -> None:
    """A callable with a wrong signature, such as one for ``UserLookup``, raises while the app is built."""
    functions: dict[str, Any] = {"find": _find, argument: function}

    with pytest.raises(ConfigurationError, match=problem) as caught:
        DigestLookup(**functions)

    assert caught.value.argument == argument


def test_a_callable_without_a_signature_is_accepted() -> None:
    """A callable whose signature cannot be read, such as one written in C, is accepted."""
    unsaid: Any = dict.update

    assert not DigestLookup(unsaid).finds_hashed


KINDS: tuple[type, ...] = (DigestStore, RolesListed, PasswordStore)


def test_the_stores_differ_in_their_optional_methods() -> None:
    """A store in memory answers at once and lists its realms and roles. A callable does neither."""
    memory, lookup = MemoryDigests([ALICE], realm="orders"), DigestLookup(_find)

    assert memory.find_now("alice", realm="orders", algorithm="SHA-256", hashed=False) is ALICE
    assert memory.realms_held() == {("orders", "SHA-256")}
    assert not hasattr(lookup, "find_now")
    assert not hasattr(lookup, "realms_held")
    assert [kind for kind in KINDS if isinstance(memory, kind)] == [DigestStore, RolesListed]
    assert [kind for kind in KINDS if isinstance(lookup, kind)] == [DigestStore]


@pytest.mark.parametrize("digest", [BCRYPT, "", PASSWORD, SHA[:-1], f"{SHA}\n", SHA[:40], None, SHA.encode()])
def test_an_account_takes_nothing_but_a_digest(digest: Any) -> None:
    """A value that is not a digest, such as a password hash, raises with a way to make one, and is not quoted."""
    with pytest.raises(ConfigurationError, match=r"^ha1: .*a password hash cannot serve Digest") as caught:
        DigestAccount("alice", digest)

    assert not digest or str(digest) not in str(caught.value)


@pytest.mark.rfc("7616-16")
def test_an_account_has_its_digest_in_lower_case_and_does_not_show_it() -> None:
    """The digest is kept in lower case (RFC 7616 section 3.4.2). The repr of the account shows neither it nor the
    claims."""
    account = DigestAccount("alice", SHA.upper(), claims={"mail": "alice@example.com"})

    assert account.ha1 == SHA
    assert SHA not in repr(account)
    assert "example.com" not in repr(account)


@pytest.mark.parametrize(
    ("argument", "given"),
    [("subject", {"subject": ""}), ("claims", {"claims": None}), ("roles", {"roles": "admin"})],
)
def test_an_account_is_checked_as_any_other(argument: str, given: dict[str, Any]) -> None:
    """An invalid member of an account raises, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        DigestAccount(**{"subject": "alice", "ha1": SHA, **given})

    assert caught.value.argument == argument
