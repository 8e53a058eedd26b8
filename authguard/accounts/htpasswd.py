"""Password files of Apache's ``htpasswd``."""

from __future__ import annotations

import logging
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field

from authguard.accounts.account import NOT_NOW, Account, NotNow, PasswordHasher
from authguard.accounts.groups import GroupMembership, Groups, read_lines
from authguard.accounts.password_hashes import LibpassHasher
from authguard.accounts.watched_file import BadFile, EmptyFile, WatchedFile
from authguard.concurrency.slices import Slices
from authguard.model import Clock
from authguard.value_types import frozen

_log = logging.getLogger("authguard")

#: How many hashes of a file are examined, so that it is told which ones nobody can log in with.
MOST_EXAMINED = 2000
#: How many of these are told at once.
MOST_TOLD = 8
# To parse so many hashes takes about a millisecond.
_HASHES = 50
#: How many accounts of one content of the file are kept.
MOST_KEPT = 4096


@frozen
class _Users:
    """The content of a file: the hash of each name, all hashes as a sample, and why some cannot be read.

    ``accounts`` are those that were found lately, so that they are not made for each request.
    """

    hashes: Mapping[str, str] = field(repr=False)
    sample: Sequence[str] = field(repr=False)
    problems: Sequence[str] = ()
    accounts: dict[str, Account] = field(default_factory=dict, repr=False)

    def keep(self, account: Account) -> None:
        """Keep an account, of at most ``MOST_KEPT``."""
        if len(self.accounts) >= MOST_KEPT:
            self.accounts.clear()
        self.accounts[account.subject] = account


class HtpasswdFile:
    """Accounts from a file of Apache's ``htpasswd``: ``HtpasswdFile("users.htpasswd", groups="groups")``.

    - ``path``: lines of ``name:hash`` in UTF-8: bcrypt, apr1, SHA-crypt and ``{SHA}``. Plain text, DES crypt, ``$1$``
      and ``{SSHA}`` are read only if ``hasher=LibpassHasher(allow={"plaintext"})`` names them.
    - ``groups``: an ``AuthGroupFile`` (lines of ``role: name name``), or a mapping from a role to those who have it.

    Both files are read again when they change; ``WatchedFile`` says what happens if one is bad. A file is bad if a line
    has another format, if a name is listed twice, if the last line may be incomplete, or if there is no hash in it that
    the hasher can read. One WARNING tells which lines have a hash that the hasher cannot read, and why. A name or a
    role that was removed from a file in place is valid for up to five seconds more, because the file may have been cut.
    Rename the new file over the old one, and a removal counts at once. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        groups: Groups | None = None,
        hasher: PasswordHasher | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.hasher: PasswordHasher = LibpassHasher() if hasher is None else hasher
        self._told: frozenset[str] = frozenset()
        self._path = os.fspath(path)
        self._users = WatchedFile(path, self._parse, argument="path", clock=clock)
        self._groups = GroupMembership(groups, clock)
        self._groups.check_names(self._users.last.hashes)

    def _parse(self, content: bytes) -> Slices[_Users]:
        """The users in the file. A WARNING tells of hashes with which nobody can log in, and each of them once."""
        users = yield from _parse_users(content, self.hasher.reads, getattr(self.hasher, "problem_of", None))
        new = [problem for problem in users.problems if problem not in self._told]
        self._told = frozenset(users.problems)
        if new:
            more = f"; and {len(new) - MOST_TOLD} more" if len(new) > MOST_TOLD else ""
            _log.warning("%s: nobody can log in by %s%s", self._path, "; ".join(new[:MOST_TOLD]), more)
        return users

    async def find(self, username: str) -> Account | None:
        """The account of this name; None if there is none.

        Raises ``BackendUnavailable`` if a file has been bad for too long.
        """
        await self._users.value()
        await self._groups.refresh()
        return self._account(username)

    def find_now(self, username: str) -> Account | NotNow | None:
        """The same answer, or ``NOT_NOW`` if it is time to check a file."""
        return NOT_NOW if self._users.is_check_due or self._groups.is_check_due else self._account(username)

    def _account(self, username: str) -> Account | None:
        users, roles = self._users.current, self._groups.roles_of(username)
        account = users.accounts.get(username)
        if account is not None and account.roles == roles:
            return account
        stored = users.hashes.get(username)
        if stored is not None:
            account = Account(username, stored, roles=roles)
            users.keep(account)
            return account
        recent = (users.hashes[username] for users in self._users.recent if username in users.hashes)
        stored = next(recent, None)
        return None if stored is None else Account(username, stored, roles=roles)

    def sample(self) -> Sequence[str]:
        """All stored hashes, in the last good content of the file."""
        return self._users.last.sample

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, in the last good content of the file."""
        return self._groups.roles_given()


def _parse_users(
    content: bytes, reads: Callable[[str], bool], problem_of: Callable[[str], str | None] | None
) -> Slices[_Users]:
    hashes: dict[str, str] = {}
    examined: list[tuple[int, str]] = []
    for lines in read_lines(content):
        yield
        for number, line, is_ended in lines:
            # As in Apache and nginx, everything after a second colon is a remark. No hash contains a colon.
            name, _, rest = line.partition(":")
            stored = rest.partition(":")[0]
            if not name or not stored:
                raise BadFile(f"line {number} is not name:hash")
            # The last line of a file that is still being written may be cut off. Without a line feed, a hash is taken
            # only if it is complete, and would not be without its last character.
            if not is_ended and (not reads(stored) or reads(stored[:-1])):
                raise BadFile(f"line {number} has no line feed and may be incomplete")
            if not name.isascii():
                name = unicodedata.normalize("NFC", name)
            if name in hashes:
                raise BadFile(f"line {number} names a user for the second time")
            hashes[name] = stored
            if len(hashes) <= MOST_EXAMINED:
                examined.append((number, stored))
    if not (yield from _any_readable(hashes.values(), reads)):
        problem = "it contains no hash in a format that the hasher reads"
        raise BadFile(problem) if hashes else EmptyFile(problem)
    problems = () if problem_of is None else (yield from _problems(examined, problem_of))
    return _Users(hashes, tuple(hashes.values()), problems)


def _any_readable(hashes: Iterable[str], reads: Callable[[str], bool]) -> Slices[bool]:
    for index, stored in enumerate(hashes, 1):
        if reads(stored):
            return True
        if index % _HASHES == 0:
            yield
    return False


def _problems(examined: Iterable[tuple[int, str]], problem_of: Callable[[str], str | None]) -> Slices[tuple[str, ...]]:
    """Why nobody can log in by some of these lines."""
    problems: list[str] = []
    for index, (number, stored) in enumerate(examined, 1):
        problem = None if stored[0] in "*!" else problem_of(stored)  # a locked account has one of these
        problems += [] if problem is None else [f"line {number}: {problem}"]
        if index % _HASHES == 0:
            yield
    return tuple(problems)
