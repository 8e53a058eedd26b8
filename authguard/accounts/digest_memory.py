"""Accounts of Digest: a fixed set in memory, or by a function that reads any database."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from authguard.accounts.account import Account
from authguard.accounts.digest_account import DIGITS, DigestAccount, check_realm, digest_ha1, hash_of
from authguard.accounts.digest_index import index_digests
from authguard.accounts.groups import roles_by_name
from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.concurrency.slices import at_once
from authguard.errors import ConfigurationError
from authguard.validation import names
from authguard.wire.text import nfc

log = logging.getLogger("authguard")

_NOT_A_DIGEST_ACCOUNT = (
    "a password hash cannot serve Digest: give a DigestAccount with what digest_ha1 makes of a password"
)


class MemoryDigests:
    """A fixed set of accounts of one realm: ``MemoryDigests([DigestAccount("alice", "5d31...")], realm="orders")``.

    ``algorithm`` is the one of each ``H(A1)``. Raises ``ConfigurationError`` for two accounts of one name, and for an
    ``H(A1)`` that is not of this algorithm.
    """

    finds_hashed = True

    def __init__(self, accounts: Iterable[DigestAccount], *, realm: str, algorithm: str = "SHA-256") -> None:
        hash_of(algorithm, "algorithm")
        self._index = at_once(index_digests({(check_realm(realm), algorithm): _by_name(accounts, algorithm)}))

    @classmethod
    def of_cleartext(
        cls,
        users: Mapping[str, str],
        *,
        realm: str,
        algorithms: Iterable[str] = ("SHA-256",),
        groups: Mapping[str, Iterable[str]] | None = None,
    ) -> MemoryDigests:
        """Accounts from names and passwords: for demos, for tests, and for secrets from the environment of the app.

        The name of this method warns that the app has the passwords in cleartext. They are hashed at once, and not
        kept. ``groups`` maps a role to the names that have it. Raises ``ConfigurationError``, which quotes no password.
        """
        realm = check_realm(realm)
        checked_algorithms = names("algorithms", algorithms)
        if not checked_algorithms:
            raise ConfigurationError("algorithms", f"give at least one of {', '.join(DIGITS)}")
        for algorithm in checked_algorithms:
            hash_of(algorithm)
        if not isinstance(users, Mapping):
            raise ConfigurationError("users", "give a mapping from names to passwords")
        roles = {} if groups is None else roles_by_name(groups)
        if unknown := roles.keys() - {nfc(name) for name in users if isinstance(name, str)}:
            raise ConfigurationError("groups", f"{min(unknown)!r} is not one of the users")
        store = cls((), realm=realm)
        by_name = {
            (realm, algorithm): _hash_cleartext(users, realm, algorithm, roles) for algorithm in checked_algorithms
        }
        store._index = at_once(index_digests(by_name))
        return store

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The account of this name; None if there is none."""
        return self.find_now(username, realm=realm, algorithm=algorithm, hashed=hashed)

    def find_now(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The same answer, which is always in memory."""
        found = self._index.find(username, realm, algorithm, hashed)
        return None if found is None else found[1]

    def realms_held(self) -> AbstractSet[tuple[str, str]]:
        """The realm, with each algorithm for which it has accounts."""
        return {key for key, accounts in self._index.by_name.items() if accounts}

    def roles_given(self) -> frozenset[str]:
        """The roles of all accounts."""
        tables = self._index.by_name.values()
        return frozenset[str]().union(*(account.roles for table in tables for account in table.values()))


class FindDigest(Protocol):
    """The async function that a ``DigestLookup`` calls."""

    def __call__(self, username: str, /, *, realm: str, algorithm: str) -> Awaitable[DigestAccount | None]:
        """The account of this name with its ``H(A1)`` for this realm and algorithm; None if there is none."""
        ...


class DigestLookup:
    """Accounts by an async function, over any database: ``DigestLookup(find)``.

    ``find(username, *, realm, algorithm)`` returns a ``DigestAccount`` with the ``H(A1)`` for this realm and algorithm,
    or None if there is none. It raises ``BackendUnavailable`` if it cannot tell. Names are in NFC, and ``algorithm`` is
    ``MD5``, ``SHA-256`` or ``SHA-512-256``. ``find_hashed`` is called the same way, but with ``H(name:realm)``, in
    lower-case hexadecimal digits, in place of the name. ``userhash=true`` is offered only with it.

    Raises ``ConfigurationError`` for functions that are not async. Whatever they raise passes through. An answer that
    is not a ``DigestAccount`` denies with ``backend.failed`` (503), and the record says what it was. An account with an
    ``H(A1)`` of another algorithm counts as unknown, with one ERROR.
    """

    def __init__(self, find: FindDigest, find_hashed: FindDigest | None = None) -> None:
        self._find = _check_function("find", find)
        self._find_hashed = None if find_hashed is None else _check_function("find_hashed", find_hashed)
        self._mismatch_logged = False

    @property
    def finds_hashed(self) -> bool:
        """Whether there is a function for it."""
        return self._find_hashed is not None

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The answer of the function."""
        function = self._find_hashed if hashed else self._find
        if function is None:
            return None
        account = await awaitable(function, function(username, realm=realm, algorithm=algorithm))
        if account is None:
            return None
        if not isinstance(account, DigestAccount):
            wanted = "a DigestAccount, or None if there is none"
            if isinstance(account, Account):
                wanted = "a DigestAccount: a password hash cannot serve Digest"
            raise wrong_answer(function, account, wanted)
        if (mismatch := _length_mismatch(account, algorithm)) is None:
            return account
        # It may be one account of an old database. A 503 for it would tell every client that this name exists.
        if not self._mismatch_logged:
            self._mismatch_logged = True
            log.error("a lookup returned an account that nobody can log in to: %s", mismatch)
        return None


def _by_name(accounts: Iterable[DigestAccount], algorithm: str, argument: str = "accounts") -> dict[str, DigestAccount]:
    values = tuple(accounts) if isinstance(accounts, Iterable) else (None,)
    if any(isinstance(account, Account) for account in values):
        raise ConfigurationError(argument, _NOT_A_DIGEST_ACCOUNT)
    by_name: dict[str, DigestAccount] = {}
    for account in values:
        if not isinstance(account, DigestAccount):
            raise ConfigurationError(argument, 'give a list of accounts: [DigestAccount("alice", "5d31...")]')
        name = nfc(account.subject)
        if name in by_name:
            raise ConfigurationError(argument, f"{name!r} is listed twice")
        if mismatch := _length_mismatch(account, algorithm):
            raise ConfigurationError(argument, f"{name!r}: {mismatch}")
        by_name[name] = account
    return by_name


def _hash_cleartext(
    users: Mapping[str, str], realm: str, algorithm: str, roles: Mapping[str, frozenset[str]]
) -> dict[str, DigestAccount]:
    accounts: list[DigestAccount] = []
    problem = None
    for name, password in users.items():
        try:
            digest = digest_ha1(name, realm, password, algorithm)
        except ValueError as error:
            problem = f"{name!r}: {error}"
            break
        accounts.append(DigestAccount(name, digest, roles=roles.get(nfc(name), frozenset())))
    # Raised outside of the except block, so that the error does not keep the first one, whose frames hold the password.
    if problem is not None:
        raise ConfigurationError("users", problem)
    return _by_name(accounts, algorithm, "users")


def _length_mismatch(account: DigestAccount, algorithm: str) -> str | None:
    length, expected = len(account.ha1), DIGITS.get(algorithm)
    return None if length == expected else f"its H(A1) has {length} digits, and one of {algorithm} has {expected}"


def _check_function(argument: str, function: FindDigest) -> FindDigest:
    called = "find(name, *, realm, algorithm)"
    return async_function(argument, function, called, "alice", realm="orders", algorithm="SHA-256")
