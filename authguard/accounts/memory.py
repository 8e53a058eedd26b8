"""Accounts of password logins: a fixed set in memory, or by a function that reads any database."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from authguard.accounts.account import Account, PasswordHasher
from authguard.accounts.password_hashes import LibpassHasher, hash_problem
from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.errors import ConfigurationError

#: The async function that a ``UserLookup`` calls.
Find: TypeAlias = Callable[[str], Awaitable[Account | None]]


class MemoryUsers:
    """A fixed set of accounts: ``MemoryUsers([Account("alice", "$2b$...", roles={"admin"})])``.

    Raises ``ConfigurationError`` for two accounts of one name, and for a hash that the hasher cannot read.
    """

    def __init__(self, accounts: Iterable[Account], *, hasher: PasswordHasher | None = None) -> None:
        self.hasher: PasswordHasher = LibpassHasher() if hasher is None else hasher
        self._accounts: dict[str, Account] = {}
        values = tuple(accounts) if isinstance(accounts, Iterable) else ()
        if not isinstance(accounts, Iterable) or not all(isinstance(account, Account) for account in values):
            raise ConfigurationError("accounts", 'give a list of accounts: [Account("alice", "$2b$12$...")]')
        for account in values:
            # Names arrive in NFC (RFC 7617 section 2.1), whatever form the app writes them in.
            name = unicodedata.normalize("NFC", account.subject)
            if name in self._accounts:
                raise ConfigurationError("accounts", f"{name!r} is listed twice")
            if account.password_hash and not self.hasher.reads(account.password_hash):
                problem = hash_problem(self.hasher, account.password_hash)
                raise ConfigurationError("accounts", f"the hasher cannot read the hash of {name!r}: {problem}")
            self._accounts[name] = account
        self._sample = tuple(account.password_hash for account in self._accounts.values() if account.password_hash)

    async def find(self, username: str) -> Account | None:
        """The account of this name; None if there is none."""
        return self._accounts.get(username)

    def find_now(self, username: str) -> Account | None:
        """The same answer, which is always in memory."""
        return self._accounts.get(username)

    def sample(self) -> Sequence[str]:
        """All stored hashes."""
        return self._sample

    def roles_given(self) -> frozenset[str]:
        """The roles of all accounts."""
        return frozenset[str]().union(*(account.roles for account in self._accounts.values()))


class UserLookup:
    """Accounts by an async function of a name, over any database: ``UserLookup(find_user, decoys=["$2b$12$..."])``.

    - ``find``: it returns None for an unknown name, and raises ``BackendUnavailable`` if it cannot tell. Names are in
      NFC.
    - ``decoys``: hashes like those in the database, in the same mix of formats and costs. The password for an unknown
      name is verified against one of them, so that the time does not tell which names exist. Make them of random
      passwords, and keep them as secret as the others: with them, a stranger could compute which one is used for which
      name. Without ``decoys``, a hash in the format of ``hasher.hash`` serves until somebody known has logged in. If
      the database has another format or cost, the time tells unknown names until then.

    Raises ``ConfigurationError``, also for a decoy that the hasher cannot read.
    """

    def __init__(self, find: Find, *, hasher: PasswordHasher | None = None, decoys: Iterable[str] = ()) -> None:
        async_function("find", find, "find(username)", "alice")
        self.hasher: PasswordHasher = LibpassHasher() if hasher is None else hasher
        self._find = find
        if isinstance(decoys, str | bytes) or not isinstance(decoys, Iterable):
            raise ConfigurationError("decoys", 'give a list of hashes like those in the database: ["$2b$12$..."]')
        self._decoys = tuple(decoys)
        for number, decoy in enumerate(self._decoys, 1):
            if not isinstance(decoy, str) or not decoy or not self.hasher.reads(decoy):
                problem = hash_problem(self.hasher, decoy)
                raise ConfigurationError("decoys", f"the hasher cannot read number {number}; {problem}")

    async def find(self, username: str) -> Account | None:
        """The answer of the function. Raises ``WrongAnswer``, which names it, for anything but an account or None."""
        account = await awaitable(self._find, self._find(username))
        if account is not None and not isinstance(account, Account):
            raise wrong_answer(self._find, account, "an Account, or None if there is none")
        return account

    def sample(self) -> Sequence[str]:
        """The decoys."""
        return self._decoys
