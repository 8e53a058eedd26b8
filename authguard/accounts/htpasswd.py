"""Password files of Apache's ``htpasswd``."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial

from authguard.accounts.account import NOT_NOW, Account, NotNow, PasswordHasher
from authguard.accounts.groups import GroupMembership, Groups, read_lines
from authguard.accounts.password_hashes import LibpassHasher
from authguard.accounts.watched_file import BadFile, EmptyFile, WatchedFile
from authguard.model import Clock
from authguard.value_types import frozen

#: How many accounts of one content of the file are kept.
MOST_KEPT = 4096


@frozen
class _Users:
    """The content of a file: the hash of each name, and all hashes as a sample.

    ``accounts`` are those that were found lately, so that they are not made for each request.
    """

    hashes: Mapping[str, str] = field(repr=False)
    sample: Sequence[str] = field(repr=False)
    accounts: dict[str, Account] = field(default_factory=dict, repr=False)

    def keep(self, account: Account) -> None:
        """Keep an account, of at most ``MOST_KEPT``."""
        if len(self.accounts) >= MOST_KEPT:
            self.accounts.clear()
        self.accounts[account.subject] = account


class HtpasswdFile:
    """Accounts from a file of Apache's ``htpasswd``: ``HtpasswdFile("users.htpasswd", groups="groups")``.

    - ``path``: lines of ``name:hash`` in UTF-8: bcrypt, apr1, SHA-crypt and ``{SHA}``. Plain text and DES crypt are
      read only with ``hasher=LibpassHasher(allow={"plaintext"})``.
    - ``groups``: an ``AuthGroupFile`` (lines of ``role: name name``), or a mapping from a role to those who have it.

    Both files are read again when they change; ``WatchedFile`` says what happens if one is bad. A file is bad if a line
    has another format, if a name is listed twice, if the last line may be incomplete, or if there is no hash in it that
    the hasher can read. A name or a role that was removed from a file in place is valid for up to five seconds more,
    because the file may have been cut. Rename the new file over the old one, and a removal counts at once. Raises
    ``ConfigurationError``.
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
        parse = partial(_parse_users, reads=self.hasher.reads)
        self._users = WatchedFile(path, parse, argument="path", clock=clock)
        self._groups = GroupMembership(groups, clock)

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


def _parse_users(content: bytes, reads: Callable[[str], bool]) -> _Users:
    hashes: dict[str, str] = {}
    for number, line, is_ended in read_lines(content):
        # As in Apache and nginx, everything after a second colon is a remark. No hash contains a colon.
        name, stored = (*line.split(":", 2), "")[:2]
        if not name or not stored:
            raise BadFile(f"line {number} is not name:hash")
        # The last line of a file that is still being written may be cut off. Without a line feed, a hash is taken only
        # if it is complete, and would not be without its last character.
        if not is_ended and (not reads(stored) or reads(stored[:-1])):
            raise BadFile(f"line {number} has no line feed and may be incomplete")
        name = unicodedata.normalize("NFC", name)
        if name in hashes:
            raise BadFile(f"line {number} names a user for the second time")
        hashes[name] = stored
    if not any(reads(stored) for stored in hashes.values()):
        problem = "it contains no hash in a format that the hasher reads"
        raise BadFile(problem) if hashes else EmptyFile(problem)
    return _Users(hashes, tuple(hashes.values()))
