"""Apache's password files."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from authguard.accounts.account import NOT_NOW, Account, NotNow, PasswordHasher
from authguard.accounts.groups import GroupMembership, Groups, lines
from authguard.accounts.password_hashes import LibpassHasher
from authguard.accounts.watched_file import BadFile, WatchedFile
from authguard.model import Clock


@dataclass(frozen=True, slots=True)
class _Users:
    hashes: Mapping[str, str] = field(repr=False)
    sample: Sequence[str] = field(repr=False)


class HtpasswdFile:
    """``HtpasswdFile("users.htpasswd", groups="groups")``: accounts out of the files of Apache's ``htpasswd``.

    - ``path``: lines of ``name:hash`` in UTF-8: bcrypt, apr1, SHA-crypt and ``{SHA}``. Plain text and DES crypt are
      read only with ``hasher=LibpassHasher(allow={"plaintext"})``.
    - ``groups``: an ``AuthGroupFile`` (lines of ``role: name name``), or a mapping from a role to those who have it.

    Both files are read again when they change; ``WatchedFile`` says what happens when they are bad. A file is bad where
    a line is no such line or a name stands twice, where the last line may be torn, and where there is nothing to read
    in it. Raises ``ConfigurationError``.
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
        """The account of this name, as the files say now. Raises ``BackendUnavailable``."""
        await self._users.value()
        await self._groups.refresh()
        return self._account(username)

    def find_now(self, username: str) -> Account | NotNow | None:
        """The same answer, unless it is time to look at a file."""
        return NOT_NOW if self._users.due or self._groups.due else self._account(username)

    def _account(self, username: str) -> Account | None:
        stored = self._users.current.hashes.get(username)
        roles = self._groups.roles_of(username)
        return None if stored is None else Account(username, stored, roles=roles)

    def sample(self) -> Sequence[str]:
        """All stored hashes of the last good reading."""
        return self._users.last.sample

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, by the last good reading."""
        return self._groups.roles_given()


def _parse_users(octets: bytes, reads: Callable[[str], bool]) -> _Users:
    hashes: dict[str, str] = {}
    for number, line, ended in lines(octets):
        # As Apache and nginx read it, what follows a second colon is a remark. No hash has a colon in it.
        name, stored = (*line.split(":", 2), "")[:2]
        if not name or not stored:
            raise BadFile(f"line {number} is not name:hash")
        if not ended and (not reads(stored) or reads(stored[:-1])):
            raise BadFile(f"line {number} has no line feed and may be torn")
        name = unicodedata.normalize("NFC", name)
        if name in hashes:
            raise BadFile(f"line {number} names a user for the second time")
        hashes[name] = stored
    if not any(reads(stored) for stored in hashes.values()):
        raise BadFile("it holds no hash of a format that is read")
    return _Users(hashes, tuple(hashes.values()))
