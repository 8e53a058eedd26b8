"""Apache's text files: the lines of any of them, and the groups of an ``AuthGroupFile``, which are roles here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from authguard.accounts.watched_file import BadFile, EmptyFile, WatchedFile
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.validation import names

#: What Apache strips from a line (isspace in the C locale). str.strip() would also strip a no-break space, which may be
#: part of a password.
BLANKS = " \t\r\v\f"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def read_lines(content: bytes) -> Iterator[tuple[int, str, bool]]:
    """The lines that are neither empty nor a comment, each with its number and whether a line feed ends it.

    Raises ``BadFile``.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    # Raised here and not in the except block, because the first error holds the whole file.
    if text is None:
        raise BadFile("it is not UTF-8")
    # Only a line feed ends a line. str.splitlines would also split a name at U+2028.
    *ended, last = text.split("\n")
    for number, untrimmed in enumerate([*ended, last], 1):
        line = untrimmed.strip(BLANKS)
        if _CONTROL.search(line):
            raise BadFile(f"line {number} contains a control character")
        if line and not line.startswith("#"):
            yield number, line, number <= len(ended)


#: The path of a group file, or a mapping from a role to the names that have it.
Groups: TypeAlias = str | os.PathLike[str] | Mapping[str, Iterable[str]]

_NO_ROLES: frozenset[str] = frozenset()
# A name in a group. One with a blank in it is in quotes.
_MEMBER = re.compile(r"""[ \t]*+(?:"([^"\\]++)"|'([^'\\]++)'|([^ \t"'][^ \t]*+))""")
_UNQUOTED = 3


class GroupMembership:
    """The roles of each name: from an ``AuthGroupFile`` (lines of ``role: name name``), or from a mapping.

    The file is read again when it changes. Raises ``ConfigurationError`` about the argument ``groups``.
    """

    def __init__(self, groups: Groups | None, clock: Clock) -> None:
        self._file: WatchedFile[Mapping[str, frozenset[str]]] | None = None
        self._fixed: Mapping[str, frozenset[str]] = {}
        if isinstance(groups, str | os.PathLike):
            self._file = WatchedFile(groups, _parse_groups, argument="groups", clock=clock)
        elif isinstance(groups, Mapping):
            self._fixed = roles_by_name(groups)
        elif groups is not None:
            raise ConfigurationError("groups", "give the path of a group file, or a mapping from a role to names")

    @property
    def is_check_due(self) -> bool:
        """Whether ``refresh`` would look at a file."""
        return self._file is not None and self._file.is_check_due

    async def refresh(self) -> None:
        """Read the group file again if it has changed. Does nothing before the next check is due."""
        if self._file is not None:
            await self._file.value()

    def roles_of(self, name: str) -> frozenset[str]:
        """The roles of this name, which is in NFC. Raises ``BackendUnavailable`` if the file is bad for too long."""
        if self._file is None:
            return self._fixed.get(name, _NO_ROLES)
        roles = self._file.current.get(name, _NO_ROLES)
        for recent in self._file.recent:
            roles |= recent.get(name, _NO_ROLES)
        return roles

    def check_names(self, users: Collection[str]) -> None:
        """Raises ``ConfigurationError`` if the groups are written in a way that gives these users no role."""
        by_name = self._fixed if self._file is None else self._file.last
        for name in by_name.keys() - users:
            if any(part.strip() in users for part in name.split(",")):
                raise ConfigurationError("groups", "names are separated by commas; write blanks: role: name name")
        roles = _NO_ROLES.union(*by_name.values())
        if by_name and by_name.keys().isdisjoint(users) and (turned := sorted(roles.intersection(users))):
            raise ConfigurationError(
                "groups",
                f"{turned[0]!r} is a user and not a role, and no member is a user: it is the wrong way round; write "
                "role: name name, or {role: {name, name}}",
            )

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, in the last good content of the file."""
        roles = self._fixed if self._file is None else self._file.last
        return _NO_ROLES.union(*roles.values())


def roles_by_name(groups: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """The roles of each name, in NFC. Raises ``ConfigurationError`` about the argument ``groups``."""
    if not isinstance(groups, Mapping):
        raise ConfigurationError("groups", "give a mapping from a role to names")
    names("groups", groups)
    return _by_name((role, names("groups", members)) for role, members in groups.items())


def _parse_groups(content: bytes) -> Mapping[str, frozenset[str]]:
    groups: list[tuple[str, Iterable[str]]] = []
    for number, line, is_ended in read_lines(content):
        role, colon, members = line.partition(":")
        role = role.rstrip(BLANKS)
        if not colon or not role:
            raise BadFile(f"line {number} is not group: name name")
        if not is_ended:
            # If the file is still being written, the last name may be cut off, and be the name of another user.
            raise BadFile(f"line {number} has no line feed and may be incomplete")
        groups.append((role, list(_members(number, members))))
    if not groups:
        raise EmptyFile("it contains no group")
    return _by_name(groups)


def _members(number: int, text: str) -> Iterator[str]:
    end = 0
    while (match := _MEMBER.match(text, end)) is not None:
        end = match.end()
        if match.lastindex == _UNQUOTED and (match[_UNQUOTED].startswith(",") or match[_UNQUOTED].endswith(",")):
            raise BadFile(f"line {number} separates names by commas; write blanks: group: name name")
        yield match[match.lastindex or 0]
    if end < len(text.rstrip(BLANKS)):
        raise BadFile(f"line {number} has a quote that does not close, or a backslash within quotes")


def _by_name(groups: Iterable[tuple[str, Iterable[str]]]) -> dict[str, frozenset[str]]:
    by_name: dict[str, set[str]] = {}
    for role, members in groups:
        for name in members:
            by_name.setdefault(unicodedata.normalize("NFC", name), set()).add(role)
    return {name: frozenset(roles) for name, roles in by_name.items()}
