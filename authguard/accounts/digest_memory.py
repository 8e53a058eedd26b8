"""Accounts of Digest in memory, and accounts of Digest by functions of your own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from authguard.accounts.account import Account
from authguard.accounts.digest_account import DIGITS, DigestAccount, check_realm, digest_ha1, hash_of
from authguard.accounts.digest_index import DigestIndex
from authguard.accounts.groups import roles_by_name
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import BACKEND_FAILED
from authguard.validation import names
from authguard.wire.text import nfc

log = logging.getLogger("authguard")

_CANNOT = "a password hash cannot serve Digest: give a DigestAccount with what digest_ha1 makes of a password"


class FindDigest(Protocol):
    """What ``DigestLookup`` is over."""

    def __call__(self, username: str, /, *, realm: str, algorithm: str) -> Awaitable[DigestAccount | None]:
        """The account of this name with its ``H(A1)`` of this realm and algorithm, None where there is none."""
        ...


class MemoryDigests:
    """A fixed set of accounts of one realm: ``MemoryDigests([DigestAccount("alice", "5d31...")], realm="orders")``.

    ``algorithm`` is the one that each ``H(A1)`` was made with. Raises ``ConfigurationError`` for two of one name and
    for an ``H(A1)`` that is not of this algorithm.
    """

    finds_hashed = True

    def __init__(self, accounts: Iterable[DigestAccount], *, realm: str, algorithm: str = "SHA-256") -> None:
        hash_of(algorithm, "algorithm")
        self._index = DigestIndex({(check_realm(realm), algorithm): _named(accounts, algorithm)})

    @classmethod
    def of_cleartext(
        cls,
        users: Mapping[str, str],
        *,
        realm: str,
        algorithms: Iterable[str] = ("SHA-256",),
        groups: Mapping[str, Iterable[str]] | None = None,
    ) -> MemoryDigests:
        """Accounts of names and their passwords: for demos, for tests, and for secrets that the app is started with.

        It has the word in its name because whoever calls it has the passwords in cleartext, and is to see that. Here
        they are hashed at once, and not kept. ``groups`` is a mapping from a role to the names that have it. Raises
        ``ConfigurationError``, which quotes no password.
        """
        realm = check_realm(realm)
        wanted = names("algorithms", algorithms)
        if not wanted:
            raise ConfigurationError("algorithms", f"give at least one of {', '.join(DIGITS)}")
        for algorithm in wanted:
            hash_of(algorithm)
        if not isinstance(users, Mapping):
            raise ConfigurationError("users", "give a mapping from names to passwords")
        roles = {} if groups is None else roles_by_name(groups)
        if strangers := roles.keys() - {nfc(name) for name in users if isinstance(name, str)}:
            raise ConfigurationError("groups", f"{min(strangers)!r} is none of the users")
        store = cls((), realm=realm)
        store._index = DigestIndex(
            {(realm, algorithm): _of_cleartext(users, realm, algorithm, roles) for algorithm in wanted}
        )
        return store

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The account of this name."""
        return self.find_now(username, realm=realm, algorithm=algorithm, hashed=hashed)

    def find_now(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The same answer, which is always in memory."""
        found = self._index.find(username, realm, algorithm, hashed)
        return None if found is None else found[1]

    def realms_held(self) -> AbstractSet[tuple[str, str]]:
        """The realm with each algorithm."""
        return {key for key, accounts in self._index.named.items() if accounts}

    def roles_given(self) -> frozenset[str]:
        """The roles of all accounts."""
        tables = self._index.named.values()
        return frozenset[str]().union(*(account.roles for table in tables for account in table.values()))


class DigestLookup:
    """Accounts by an async function: ``DigestLookup(find)``, over any database.

    ``find(username, *, realm, algorithm)`` returns a ``DigestAccount`` with the ``H(A1)`` of this realm and algorithm,
    None where there is none, and raises ``BackendUnavailable`` where it cannot tell. Names come in the form NFC, and
    ``algorithm`` is ``MD5``, ``SHA-256`` or ``SHA-512-256``. ``find_hashed`` is called the same with the hexadecimal
    digits of ``H(name:realm)``, in lower case; only with it is ``userhash=true`` offered.

    What they raise passes through. What is no ``DigestAccount`` is ``backend.failed`` (503), with a detail in the log;
    one whose ``H(A1)`` is of another algorithm is nobody, told in one ERROR.
    """

    def __init__(self, find: FindDigest, find_hashed: FindDigest | None = None) -> None:
        self._find = _checked("find", find)
        self._find_hashed = None if find_hashed is None else _checked("find_hashed", find_hashed)
        self._told = False

    @property
    def finds_hashed(self) -> bool:
        """Whether there is a function for it."""
        return self._find_hashed is not None

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """What the function says."""
        look_up = self._find_hashed if hashed else self._find
        found = None if look_up is None else await look_up(username, realm=realm, algorithm=algorithm)
        if found is None:
            return None
        if not isinstance(found, DigestAccount):
            problem = _CANNOT if isinstance(found, Account) else "it is neither a DigestAccount nor None"
            raise BackendUnavailable(f"a lookup returned {type(found).__name__}: {problem}", reason=BACKEND_FAILED)
        if (problem := _misfit(found, algorithm)) is None:
            return found
        # One account of an old database: an outage would tell everybody that there is such a name.
        if not self._told:
            self._told = True
            log.error("a lookup returned what does not fit, so that nobody can log in by it: %s", problem)
        return None


def _named(accounts: Iterable[DigestAccount], algorithm: str, argument: str = "accounts") -> dict[str, DigestAccount]:
    given = tuple(accounts) if isinstance(accounts, Iterable) else (None,)
    if any(isinstance(account, Account) for account in given):
        raise ConfigurationError(argument, _CANNOT)
    found: dict[str, DigestAccount] = {}
    for account in given:
        if not isinstance(account, DigestAccount):
            raise ConfigurationError(argument, 'give a list of accounts: [DigestAccount("alice", "5d31...")]')
        name = nfc(account.subject)
        if name in found:
            raise ConfigurationError(argument, f"{name!r} stands twice")
        if problem := _misfit(account, algorithm):
            raise ConfigurationError(argument, f"{name!r}: {problem}")
        found[name] = account
    return found


def _of_cleartext(
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
    if problem is not None:
        raise ConfigurationError("users", problem)
    return _named(accounts, algorithm, "users")


def _misfit(account: DigestAccount, algorithm: str) -> str | None:
    size, wanted = len(account.ha1), DIGITS.get(algorithm)
    return None if size == wanted else f"its H(A1) has {size} digits, and one of {algorithm} has {wanted}"


def _checked(argument: str, function: FindDigest) -> FindDigest:
    if not callable(function):
        raise ConfigurationError(argument, "give an async function of a user name, a realm and an algorithm")
    try:
        inspect.signature(function).bind("alice", realm="orders", algorithm="SHA-256")
    except TypeError as error:
        raise ConfigurationError(argument, f"it is called as find(name, realm=..., algorithm=...): {error}") from None
    except ValueError:  # written in C, and it does not say what it takes
        pass
    return function
