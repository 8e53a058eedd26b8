"""Password stores, hashers and logins for the tests of Basic."""

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
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from tests.support.asgi import header_list, http_scope
from tests.support.clock import NOW


class SpyHasher:
    """A hash is ``$format$password``. It counts, and can be held up.

    The format ``slow`` holds the interpreter lock, ``short`` takes three characters, ``old`` is outdated, ``odd`` is
    none that it reads.
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
    """A store that shows no sample: accounts by name, which a test may change. An exception in it is raised."""

    def __init__(self, *accounts: Account, hasher: SpyHasher | None = None) -> None:
        self.hasher = hasher or SpyHasher()
        self.accounts: dict[str, Account | Exception] = {account.subject: account for account in accounts}
        self.aliases: dict[str, str] = {}

    async def find(self, username: str) -> Account | None:
        found = self.accounts.get(self.aliases.get(username, username))
        if isinstance(found, Exception):
            raise found
        return found


class Ldap:
    """A directory that checks passwords itself, counts, and says what a test wants it to say."""

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
    """A store that shows a sample."""
    return MemoryUsers(accounts or (ALICE, MALLORY), hasher=hasher or SpyHasher())


def basic_scheme(passwords: Any = None, **options: Any) -> Basic:
    """A scheme with a pool of one thread and a clock that stands still."""
    given: dict[str, Any] = {"realm": "orders", "threads": 1, "waiting": 1000, "clock": ManualClock(1000), **options}
    return Basic(Users(ALICE, MALLORY) if passwords is None else passwords, **given)


def user_pass(username: str, password: str) -> bytes:
    """What stands after ``Basic``."""
    return b64encode(f"{username}:{password}".encode())


async def log_in(
    scheme: Basic, username: str = "alice", password: str = "wonderland", client: str = "192.0.2.7"
) -> Outcome:
    """What the scheme says to a name and a password."""
    return await authenticate(scheme, user_pass(username, password), client)


async def authenticate(scheme: Basic, rest: bytes, client: str = "192.0.2.7") -> Outcome:
    """What the scheme says to what stands after ``Basic``."""
    request = AuthRequest(http_scope(headers=header_list(), client=(client, 1)), path="/", moment=Moment(NOW, 60.0))
    return await scheme.authenticate(request, Credentials("basic", rest))


async def rejection_code(scheme: Basic, *given: str) -> str:
    """The code of the refusal."""
    said = await log_in(scheme, *given)
    assert isinstance(said, Rejected), said
    return said.reason.code


async def accepted_principal(scheme: Basic, *given: str) -> Principal:
    """Who was let in."""
    said = await log_in(scheme, *given)
    assert isinstance(said, Accepted), said
    return said.principal
