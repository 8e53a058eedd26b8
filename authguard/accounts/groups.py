"""Apache's text files: the lines of any of them, and the groups of an ``AuthGroupFile``, which are roles here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from authguard.accounts.watched_file import BadFile, EmptyFile, WatchedFile
from authguard.concurrency.slices import STEPS, Slices
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.validation import names

#: What Apache strips from a line (isspace in the C locale). str.strip() would also strip a no-break space, which may be
#: part of a password.
BLANKS = " \t\r\v\f"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# The same, but for the line feeds between the lines.
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
#: About how many bytes of a file make one slice.
SLICE = 16 * 1024


#: The number of a line, its text without the blanks around it, and whether a line feed ends it.
Line: TypeAlias = tuple[int, str, bool]


def read_lines(content: bytes) -> Iterator[Sequence[Line]]:
    """The lines that are neither empty nor a comment, in slices of the file.

    Raises ``BadFile``.
    """
    first = 1
    for text in _decode(content):
        texts = text.split("\n")  # only a line feed ends a line: str.splitlines would also split a name at U+2028
        last = first + len(texts) - 1
        has_control = _CONTROL_IN_LINES.search(text) is not None
        lines: list[Line] = []
        for number, untrimmed in enumerate(texts, first):
            line = untrimmed.strip(BLANKS)
            if has_control and _CONTROL.search(line):
                yield lines  # what is wrong in an earlier line is reported first
                raise BadFile(f"line {number} contains a control character")
            if line and line[0] != "#":
                lines.append((number, line, number < last))
        yield lines
        first = last


def _decode(content: bytes) -> Sequence[str]:
    """The text in slices of whole lines. Raises ``BadFile`` unless all of it is UTF-8."""
    texts: list[str] = []
    begin, encoding = 0, "utf-8-sig"
    try:
        while begin < len(content):
            end = content.find(b"\n", begin + SLICE) + 1 or len(content)
            texts.append(content[begin:end].decode(encoding))
            begin, encoding = end, "utf-8"
    except UnicodeDecodeError:
        texts = []
    # Raised here and not in the except block, because the first error holds a slice of the file.
    if begin < len(content):
        raise BadFile("it is not UTF-8")
    return texts


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
        roles = _NO_ROLES.union(*set(by_name.values()))
        if by_name and by_name.keys().isdisjoint(users) and (turned := sorted(roles.intersection(users))):
            raise ConfigurationError(
                "groups",
                f"{turned[0]!r} is a user and not a role, and no member is a user: it is the wrong way round; write "
                "role: name name, or {role: {name, name}}",
            )

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, in the last good content of the file."""
        roles = self._fixed if self._file is None else self._file.last
        return _NO_ROLES.union(*set(roles.values()))


def roles_by_name(groups: Mapping[str, Iterable[str]]) -> Mapping[str, frozenset[str]]:
    """The roles of each name, in NFC. Raises ``ConfigurationError`` about the argument ``groups``."""
    if not isinstance(groups, Mapping):
        raise ConfigurationError("groups", "give a mapping from a role to names")
    names("groups", groups)
    roles = _Roles()
    for role, members in groups.items():
        for name in names("groups", members):
            roles.add(name, role)
    return roles.by_name


def _parse_groups(content: bytes) -> Slices[Mapping[str, frozenset[str]]]:
    roles, has_group, steps = _Roles(), False, 0
    for lines in read_lines(content):
        yield
        for number, line, is_ended in lines:
            role, colon, members = line.partition(":")
            role = role.rstrip(BLANKS)
            if not colon or not role:
                raise BadFile(f"line {number} is not group: name name")
            if not is_ended:
                # If the file is still being written, the last name may be cut off, and be the name of another user.
                raise BadFile(f"line {number} has no line feed and may be incomplete")
            has_group = True
            for name in _members(number, members):
                roles.add(name, role)
                steps += 1
                if steps % STEPS == 0:
                    yield
    if not has_group:
        raise EmptyFile("it contains no group")
    return roles.by_name


def _members(number: int, text: str) -> Iterator[str]:
    end = 0
    while (match := _MEMBER.match(text, end)) is not None:
        end = match.end()
        if match.lastindex == _UNQUOTED and (match[_UNQUOTED].startswith(",") or match[_UNQUOTED].endswith(",")):
            raise BadFile(f"line {number} separates names by commas; write blanks: group: name name")
        yield match[match.lastindex or 0]
    if end < len(text.rstrip(BLANKS)):
        raise BadFile(f"line {number} has a quote that does not close, or a backslash within quotes")


class _Roles:
    """The roles of each name. Names with the same roles share one set: thousands of sets would cost much time."""

    __slots__ = ("_with", "by_name")

    def __init__(self) -> None:
        self.by_name: dict[str, frozenset[str]] = {}
        #: What a set becomes with a further role.
        self._with: dict[tuple[frozenset[str], str], frozenset[str]] = {}

    def add(self, name: str, role: str) -> None:
        """Give the name a role."""
        name = name if name.isascii() else unicodedata.normalize("NFC", name)
        held = self.by_name.get(name, _NO_ROLES)
        if role not in held:
            roles = self._with.get((held, role))
            if roles is None:
                roles = self._with[held, role] = held | {role}
            self.by_name[name] = roles
