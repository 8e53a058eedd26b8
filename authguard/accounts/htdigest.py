"""Password files of Apache's ``htdigest``: a store that reads one, and a function that makes a line."""

from __future__ import annotations

import os
import re
import time

from authguard.accounts.account import NOT_NOW, NotNow
from authguard.accounts.digest_account import HA1, DigestAccount, check_realm, check_username, digest_ha1
from authguard.accounts.digest_index import DigestIndex, index_digests
from authguard.accounts.groups import BLANKS, GroupMembership, Groups, read_lines
from authguard.accounts.watched_file import BadFile, EmptyFile, WatchedFile
from authguard.concurrency.slices import Slices
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.wire.text import nfc

# The algorithm of a line is known by the length of its digest.
_ALGORITHMS = {64: "SHA-256", 32: "MD5"}
_NAMES = " or ".join(_ALGORITHMS.values())
# As in Apache, everything after a third colon is a remark.
_LINE = re.compile(rf"([^:]++):([^:]++):({HA1.pattern})(:.*+)?")
# How password hashes begin, such as those that htpasswd writes.
_PASSWORD_HASH = re.compile(r"\$[a-zA-Z0-9-]++\$|\{[A-Z0-9-]++\}")
_WANTED = "Digest needs htdigest's name:realm:digest"

# A made-up user, for names that are not in the file.
_DECOY = "nobody", "0" * 64


class HtdigestFile:
    """Accounts from a file of Apache's ``htdigest``: ``HtdigestFile("users.htdigest", groups="groups")``.

    - ``path``: lines of ``name:realm:digest`` in UTF-8. 32 hexadecimal digits are ``H(A1)`` of MD5, as htdigest writes
      it, 64 of SHA-256, as ``python -m authguard htdigest`` does. A name may have a line for each realm and algorithm.
    - ``groups``: an ``AuthGroupFile`` (lines of ``role: name name``), or a mapping from a role to those who have it,
      in every realm.

    SHA-512-256 has 64 digits too, and a line does not say which algorithm it is for, so nobody is found for
    SHA-512-256. Apache's tool knows only MD5: if it changes a password, its line replaces the first line of that name
    and realm, even one for SHA-256.

    Both files are read again when they change; ``WatchedFile`` says what happens if one is bad. A file is bad if a line
    has another format, if a name is listed twice for a realm and an algorithm, if the last line may be incomplete, or
    if there is no digest in it. A name or a role that was removed from a file in place is valid for up to five seconds
    more, because the file may have been cut. Rename the new file over the old one, and a removal counts at once. Raises
    ``ConfigurationError``.
    """

    finds_hashed = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        groups: Groups | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._digests = WatchedFile(path, _parse, argument="path", clock=clock)
        self._groups = GroupMembership(groups, clock)
        self._groups.check_names({name for table in self._digests.last.by_name.values() for name in table})

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The account of this name; None if there is none.

        Raises ``BackendUnavailable`` if a file has been bad for too long.
        """
        await self._digests.value()
        await self._groups.refresh()
        return self._account(username, realm, algorithm, hashed)

    def find_now(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | NotNow | None:
        """The same answer, or ``NOT_NOW`` if it is time to check a file."""
        is_check_due = self._digests.is_check_due or self._groups.is_check_due
        return NOT_NOW if is_check_due else self._account(username, realm, algorithm, hashed)

    def _account(self, username: str, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        found = self._digests.current.find(username, realm, algorithm, hashed)
        for recent in self._digests.recent:
            found = found or recent.find(username, realm, algorithm, hashed)
        # An unknown name takes the same steps: it must not be told apart by the time, or by a bad group file.
        name, digest = found or _DECOY
        account = DigestAccount(name, digest, roles=self._groups.roles_of(name))
        return account if found else None

    def realms_held(self) -> frozenset[tuple[str, str]]:
        """Each (realm, algorithm) that has a line, in the last good content of the file."""
        return frozenset(self._digests.last.by_name)

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, in the last good content of the file."""
        return self._groups.roles_given()


def htdigest_line(username: str, realm: str, password: str, algorithm: str = "SHA-256") -> str:
    """The line of a user for an ``HtdigestFile``, without a line feed.

    Raises ``ConfigurationError`` for the realm and the algorithm, ``ValueError`` for the name and the password.
    """
    if algorithm not in _ALGORITHMS.values():
        raise ConfigurationError("algorithm", f"{algorithm!r} cannot be stored in a file; give {_NAMES}")
    check_fits(username, realm)
    return f"{nfc(username)}:{nfc(realm)}:{digest_ha1(username, realm, password, algorithm)}"


def check_fits(username: str, realm: str) -> None:
    """Raise the errors of ``htdigest_line`` about the name and the realm, before there is a password."""
    check_realm(realm)
    if ":" in realm:
        raise ConfigurationError("realm", f"{realm!r} contains a colon, which ends the realm in a file")
    check_username(username)
    if username.lstrip(f"{BLANKS}#\ufeff") != username:
        msg = "the username must not begin with a blank, a # or a byte order mark, which mean something else in a file"
        raise ValueError(msg)


def _parse(content: bytes) -> Slices[DigestIndex[str]]:
    by_name: dict[tuple[str, str], dict[str, str]] = {}
    # The same tables by the realm as it is written, so that it is normalised once and not for each line.
    tables: dict[tuple[str, int], dict[str, str]] = {}
    for lines in read_lines(content):
        yield
        for number, line, is_ended in lines:
            match = _LINE.fullmatch(line)
            if match is None:
                raise BadFile(_problem(number, line))
            name, realm, digest, remark = match.groups()
            length = len(digest)
            # If the file is still being written, 32 digits may be the first half of 64.
            if length == 32 and not is_ended and remark is None:
                raise BadFile(f"line {number} has no line feed and may be incomplete")
            table = tables.get((realm, length))
            if table is None:
                table = tables[realm, length] = by_name.setdefault((nfc(realm), _ALGORITHMS[length]), {})
            name = nfc(name)
            if name in table:
                raise BadFile(f"line {number} names a user of a realm for the second time")
            table[name] = digest
    if not by_name:
        raise EmptyFile("it contains no digest")
    return (yield from index_digests(by_name))


def _problem(number: int, line: str) -> str:
    fields = (*line.split(":"), "", "")
    if _PASSWORD_HASH.match(fields[1]):
        return f"line {number} is name:hash, as htpasswd writes it; {_WANTED}"
    if _PASSWORD_HASH.match(fields[2]):
        return f"line {number} contains a password hash; {_WANTED}"
    return f"line {number} is not name:realm:digest, with a digest of 32 or 64 hexadecimal digits"
