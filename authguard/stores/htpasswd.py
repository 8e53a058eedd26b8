"""Apache's password files, and its group files for roles."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from authguard.errors import ConfigurationError
from authguard.model import Clock, names
from authguard.stores.base import Account, PasswordHasher
from authguard.stores.passwords import LibpassHasher
from authguard.stores.watched import BadFile, WatchedFile

Groups: TypeAlias = str | os.PathLike[str] | Mapping[str, Iterable[str]]

_NOBODY: frozenset[str] = frozenset()
# Apache's blanks (isspace in the C locale). Python's own would also strip a no-break space off a password.
_BLANKS = " \t\r\v\f"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# A name of a group's, in quotes where it has a blank in it.
_MEMBER = re.compile(r"""[ \t]*+(?:"([^"\\]++)"|'([^'\\]++)'|([^ \t"'][^ \t]*+))""")


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
        self._group_file: WatchedFile[Mapping[str, frozenset[str]]] | None = None
        self._given: Mapping[str, frozenset[str]] = {}
        if isinstance(groups, str | os.PathLike):
            self._group_file = WatchedFile(groups, _parse_groups, argument="groups", clock=clock)
        elif isinstance(groups, Mapping):
            names("groups", groups)
            self._given = _roles_by_name((role, names("groups", members)) for role, members in groups.items())
        elif groups is not None:
            raise ConfigurationError("groups", "give the path of a group file, or a mapping from a role to names")

    @property
    def at_hand(self) -> bool:
        """Whether no file is to be looked at now."""
        return not (self._users.due or (self._group_file is not None and self._group_file.due))

    async def find(self, username: str) -> Account | None:
        """The account of this name, as the files say now."""
        stored = (await self._users.value()).hashes.get(username)
        roles = self._given if self._group_file is None else await self._group_file.value()
        return None if stored is None else Account(username, stored, roles=roles.get(username, _NOBODY))

    def sample(self) -> Sequence[str]:
        """All stored hashes of the last good reading."""
        return self._users.last.sample

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, by the last good reading."""
        listed = self._given if self._group_file is None else self._group_file.last
        return _NOBODY.union(*listed.values())


def _parse_users(octets: bytes, reads: Callable[[str], bool]) -> _Users:
    hashes: dict[str, str] = {}
    for number, line, ended in _lines(octets):
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


def _parse_groups(octets: bytes) -> Mapping[str, frozenset[str]]:
    listed: list[tuple[str, Iterable[str]]] = []
    for number, line, ended in _lines(octets):
        role, colon, members = line.partition(":")
        role = role.rstrip(_BLANKS)
        if not colon or not role:
            raise BadFile(f"line {number} is not group: name name")
        if not ended:
            # The beginning of a name may be another user's.
            raise BadFile(f"line {number} has no line feed and may be torn")
        listed.append((role, list(_members(number, members))))
    if not listed:
        raise BadFile("it names no group")
    return _roles_by_name(listed)


def _members(number: int, text: str) -> Iterator[str]:
    at = 0
    while (found := _MEMBER.match(text, at)) is not None:
        at = found.end()
        yield found[found.lastindex or 0]
    if at < len(text.rstrip(_BLANKS)):
        raise BadFile(f"line {number} has a quote that does not close, or a backslash within quotes")


def _roles_by_name(groups: Iterable[tuple[str, Iterable[str]]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for role, members in groups:
        for name in members:
            found.setdefault(unicodedata.normalize("NFC", name), set()).add(role)
    return {name: frozenset(roles) for name, roles in found.items()}


def _lines(octets: bytes) -> Iterator[tuple[int, str, bool]]:
    """The lines that say something, each with its number and whether a line feed ends it."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise BadFile("it is not UTF-8")
    # Only a line feed ends a line: str.splitlines would also split at a name's U+2028.
    *ended, last = text.split("\n")
    for number, untrimmed in enumerate([*ended, last], 1):
        line = untrimmed.strip(_BLANKS)
        if _CONTROL.search(line):
            raise BadFile(f"line {number} holds a control character")
        if line and not line.startswith("#"):
            yield number, line, number <= len(ended)
