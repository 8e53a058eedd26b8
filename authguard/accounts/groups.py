"""The lines of Apache's files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from authguard.accounts.watched_file import BadFile, WatchedFile
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.validation import names

#: Apache's blanks (isspace in the C locale). Python's own would also strip a no-break space off a password.
BLANKS = " \t\r\v\f"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def lines(octets: bytes) -> Iterator[tuple[int, str, bool]]:
    """The lines that say something, each with its number and whether a line feed ends it. Raises ``BadFile``."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise BadFile("it is not UTF-8")
    # Only a line feed ends a line: str.splitlines would also split at a name's U+2028.
    *ended, last = text.split("\n")
    for number, untrimmed in enumerate([*ended, last], 1):
        line = untrimmed.strip(BLANKS)
        if _CONTROL.search(line):
            raise BadFile(f"line {number} holds a control character")
        if line and not line.startswith("#"):
            yield number, line, number <= len(ended)


Groups: TypeAlias = str | os.PathLike[str] | Mapping[str, Iterable[str]]

_NOBODY: frozenset[str] = frozenset()
# A name of a group's, in quotes where it has a blank in it.
_MEMBER = re.compile(r"""[ \t]*+(?:"([^"\\]++)"|'([^'\\]++)'|([^ \t"'][^ \t]*+))""")


class GroupMembership:
    """The roles of a name: by an ``AuthGroupFile`` (lines of ``role: name name``), which is watched, or by a mapping.

    Raises ``ConfigurationError`` about the argument ``groups``.
    """

    def __init__(self, groups: Groups | None, clock: Clock) -> None:
        self._file: WatchedFile[Mapping[str, frozenset[str]]] | None = None
        self._given: Mapping[str, frozenset[str]] = {}
        if isinstance(groups, str | os.PathLike):
            self._file = WatchedFile(groups, _parse_groups, argument="groups", clock=clock)
        elif isinstance(groups, Mapping):
            self._given = roles_by_name(groups)
        elif groups is not None:
            raise ConfigurationError("groups", "give the path of a group file, or a mapping from a role to names")

    @property
    def due(self) -> bool:
        """Whether ``of`` would look at a file first."""
        return self._file is not None and self._file.due

    async def refresh(self) -> None:
        """Look whether the group file has changed, if it is time to."""
        if self._file is not None:
            await self._file.value()

    def roles_of(self, name: str) -> frozenset[str]:
        """The roles of this name, which is in the form NFC. Raises ``BackendUnavailable``."""
        roles = self._given if self._file is None else self._file.current
        return roles.get(name, _NOBODY)

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, by the last good reading."""
        listed = self._given if self._file is None else self._file.last
        return _NOBODY.union(*listed.values())


def roles_by_name(groups: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """The roles of each name in the form NFC. Raises ``ConfigurationError`` about the argument ``groups``."""
    if not isinstance(groups, Mapping):
        raise ConfigurationError("groups", "give a mapping from a role to names")
    names("groups", groups)
    return _by_name((role, names("groups", members)) for role, members in groups.items())


def _parse_groups(octets: bytes) -> Mapping[str, frozenset[str]]:
    listed: list[tuple[str, Iterable[str]]] = []
    for number, line, ended in lines(octets):
        role, colon, members = line.partition(":")
        role = role.rstrip(BLANKS)
        if not colon or not role:
            raise BadFile(f"line {number} is not group: name name")
        if not ended:
            # The beginning of a name may be another user's.
            raise BadFile(f"line {number} has no line feed and may be torn")
        listed.append((role, list(_members(number, members))))
    if not listed:
        raise BadFile("it names no group")
    return _by_name(listed)


def _members(number: int, text: str) -> Iterator[str]:
    at = 0
    while (found := _MEMBER.match(text, at)) is not None:
        at = found.end()
        yield found[found.lastindex or 0]
    if at < len(text.rstrip(BLANKS)):
        raise BadFile(f"line {number} has a quote that does not close, or a backslash within quotes")


def _by_name(groups: Iterable[tuple[str, Iterable[str]]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for role, members in groups:
        for name in members:
            found.setdefault(unicodedata.normalize("NFC", name), set()).add(role)
    return {name: frozenset(roles) for name, roles in found.items()}
