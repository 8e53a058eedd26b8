"""Password stores, a password hasher and logins for the tests of Basic."""

from __future__ import annotations

import threading
from base64 import b64encode
from typing import Any

from authguard.accounts.account import Account, Verdict
from authguard.accounts.memory import MemoryUsers
from authguard.model import Accepted, Moment, Outcome, Principal, Rejected
from authguard.reasons import Reason
from authguard.request import AuthRequest
from authguard.schemes.basic import Basic
from authguard.schemes.scheme import Continuation
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from tests.support.asgi import header_list, http_scope
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting


class SpyHasher:
    """A hasher whose hashes read ``$format$password``. It counts its calls, and waits while ``released`` is not set.

    The format ``slow`` holds the interpreter lock, ``short`` takes passwords of up to three characters, ``old`` needs a
    new hash, ``odd`` cannot be read.
    """

    def __init__(self) -> None:
        self.verified: list[tuple[str, str]] = []
        self.hashed: list[str] = []
        self.released = threading.Event()
        self.released.set()

    def verify(self, password: str, stored: str) -> Verdict:
        self.verified.append((password, stored))
        assert self.released.wait(30)
        kind, _, right = stored[1:].partition("$")
        if kind == "short" and len(password) > 3:
            return Verdict.TOO_LONG
        return Verdict.MATCH if password == right else Verdict.WRONG

    def hash(self, password: str) -> str:
        self.hashed.append(password)
        return f"$new${password}"

    def needs_rehash(self, stored: str) -> bool:
        return stored.startswith("$old$")

    def reads(self, stored: str) -> bool:
        return stored.startswith("$") and not stored.startswith("$odd$")

    def blocks_gil(self, stored: str) -> bool:
        return "slow" in stored

    @property
    def count(self) -> int:
        """How many passwords were verified."""
        return len(self.verified)


class Users:
    """A store without a sample: accounts by name, which a test may change. An exception in it is raised."""

    def __init__(self, *accounts: Account, hasher: SpyHasher | None = None) -> None:
        self.hasher = hasher or SpyHasher()
        self.accounts: dict[str, Account | Exception] = {account.subject: account for account in accounts}
        self.aliases: dict[str, str] = {}

    async def find(self, username: str) -> Account | None:
        account = self.accounts.get(self.aliases.get(username, username))
        if isinstance(account, Exception):
            raise account
        return account


class HeldUsers(Users):
    """The same store, which says that it has its accounts in memory."""

    def find_now(self, username: str) -> Account | None:
        """The same answer."""
        return run_without_waiting(self.find(username))


class Ldap:
    """A directory that checks passwords itself. It keeps its calls, and answers as the test sets ``answer``."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str]] = []

    async def check(self, username: str, password: str) -> Account | Reason:
        self.calls.append((username, password))
        answer: Account | Reason = self.answer
        return answer


ALICE = Account("alice", "$fast$wonderland", roles={"admin"}, scopes={"read"}, claims={"mail": "a@example.org"})
MALLORY = Account("mallory", "$fast$secret", disabled=True)


def memory_users(*accounts: Account, hasher: SpyHasher | None = None) -> MemoryUsers:
    """A store in memory, which has a sample of its hashes."""
    return MemoryUsers(accounts or (ALICE, MALLORY), hasher=hasher or SpyHasher())


def basic_scheme(passwords: Any = None, **options: Any) -> Basic:
    """A Basic scheme with a pool of one thread and a clock that stands still."""
    settings: dict[str, Any] = {"realm": "orders", "threads": 1, "waiting": 1000, "clock": ManualClock(1000), **options}
    return Basic(Users(ALICE, MALLORY) if passwords is None else passwords, **settings)


def user_pass(username: str, password: str) -> bytes:
    """The credentials that follow ``Basic``: the user-pass of RFC 7617 in Base64."""
    return b64encode(f"{username}:{password}".encode())


async def log_in(
    scheme: Basic, username: str = "alice", password: str = "wonderland", client: str = "192.0.2.7"
) -> Outcome:
    """The outcome of one login."""
    return await authenticate(scheme, user_pass(username, password), client)


async def authenticate(scheme: Basic, rest: bytes, client: str = "192.0.2.7") -> Outcome:
    """The outcome for the credentials that follow ``Basic``."""
    request = AuthRequest(http_scope(headers=header_list(), client=(client, 1)), path="/", moment=Moment(NOW, 60.0))
    return await scheme.authenticate(request, Credentials("basic", rest))


def log_in_now(
    scheme: Basic, username: str = "alice", password: str = "wonderland", client: str = "192.0.2.7"
) -> Outcome | Continuation:
    """The outcome of one login, or how it goes on."""
    request = AuthRequest(http_scope(headers=header_list(), client=(client, 1)), path="/", moment=Moment(NOW, 60.0))
    return scheme.authenticate_now(request, Credentials("basic", user_pass(username, password)))


async def rejection_code(scheme: Basic, *login: str) -> str:
    """The reason code with which a login is rejected."""
    outcome = await log_in(scheme, *login)
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason.code


async def accepted_principal(scheme: Basic, *login: str) -> Principal:
    """The principal of a login that is accepted."""
    outcome = await log_in(scheme, *login)
    assert isinstance(outcome, Accepted), outcome
    return outcome.principal
