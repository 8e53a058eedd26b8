"""Files of Apache's ``htdigest``."""

from __future__ import annotations

import os
import re
import time

from authguard.accounts.account import NOT_NOW, NotNow
from authguard.accounts.digest_account import HA1, DigestAccount, check_realm, check_username, digest_ha1
from authguard.accounts.digest_index import DigestIndex
from authguard.accounts.groups import BLANKS, GroupMembership, Groups, lines
from authguard.accounts.watched_file import BadFile, WatchedFile
from authguard.errors import ConfigurationError
from authguard.model import Clock
from authguard.wire.text import nfc

_ALGORITHMS = {64: "SHA-256", 32: "MD5"}
_NAMES = " or ".join(_ALGORITHMS.values())
# As Apache reads it, what follows a third colon is a remark.
_LINE = re.compile(rf"([^:]++):([^:]++):({HA1.pattern})(:.*+)?")
# How the hashes begin that htpasswd writes, and other password hashes.
_PASSWORD_HASH = re.compile(r"\$[a-zA-Z0-9-]++\$|\{[A-Z0-9-]++\}")
_WANTED = "Digest needs htdigest's name:realm:digest"

# What is made up for a name that is in no line.
_NOBODY = "nobody", "0" * 64


class HtdigestFile:
    """``HtdigestFile("users.htdigest", groups="groups")``: accounts out of files of Apache's ``htdigest``.

    - ``path``: lines of ``name:realm:digest`` in UTF-8. 32 hexadecimal digits are ``H(A1)`` of MD5, as htdigest writes
      it, 64 of SHA-256, as ``python -m authguard htdigest`` does. A name may have a line for each realm and algorithm.
    - ``groups``: an ``AuthGroupFile`` (lines of ``role: name name``), or a mapping from a role to those who have it,
      in every realm.

    SHA-512-256 has 64 digits too, and nothing in a line says which is meant, so nobody is found for it. Apache's tool
    knows MD5 alone: where it changes a password, it puts its own line in the place of the first of that name and realm.

    Both files are read again when they change; ``WatchedFile`` says what happens when they are bad. A file is bad where
    a line is no such line or a name stands twice for a realm and an algorithm, where the last line may be torn, and
    where there is nothing to read in it. Raises ``ConfigurationError``.
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

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The account of this name, as the files say now. Raises ``BackendUnavailable``."""
        await self._digests.value()
        await self._groups.refresh()
        return self._account(username, realm, algorithm, hashed)

    def find_now(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | NotNow | None:
        """The same answer, unless it is time to look at a file."""
        due = self._digests.due or self._groups.due
        return NOT_NOW if due else self._account(username, realm, algorithm, hashed)

    def _account(self, username: str, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        found = self._digests.current.find(username, realm, algorithm, hashed)
        # All of it for whoever it is: a group file that is bad for too long is told to all alike, and so is the time.
        name, digest = found or _NOBODY
        account = DigestAccount(name, digest, roles=self._groups.roles_of(name))
        return account if found else None

    def realms_held(self) -> frozenset[tuple[str, str]]:
        """Each (realm, algorithm) that has a line, by the last good reading."""
        return frozenset(self._digests.last.named)

    def roles_given(self) -> frozenset[str]:
        """The groups that have a member, by the last good reading."""
        return self._groups.roles_given()


def htdigest_line(username: str, realm: str, password: str, algorithm: str = "SHA-256") -> str:
    """The line of a user, without its line feed. What ``HtdigestFile`` reads is the reverse of this.

    Raises ``ConfigurationError`` for a realm and an algorithm, ``ValueError`` for a name and a password.
    """
    if algorithm not in _ALGORITHMS.values():
        raise ConfigurationError("algorithm", f"{algorithm!r} cannot be told in a file; give {_NAMES}")
    check_fits(username, realm)
    return f"{nfc(username)}:{nfc(realm)}:{digest_ha1(username, realm, password, algorithm)}"


def check_fits(username: str, realm: str) -> None:
    """Raises as ``htdigest_line`` does for a name and a realm."""
    check_realm(realm)
    if ":" in realm:
        raise ConfigurationError("realm", f"{realm!r} holds a colon, which ends it in a file")
    check_username(username)
    if username.lstrip(f"{BLANKS}#\ufeff") != username:
        msg = "the username must not begin with what is dropped from a line: a blank, a # or a byte order mark"
        raise ValueError(msg)


def _parse(octets: bytes) -> DigestIndex[str]:
    found: dict[tuple[str, str], dict[str, str]] = {}
    # The same by what stands in a line: a realm stands in many.
    tables: dict[tuple[str, int], dict[str, str]] = {}
    for number, line, ended in lines(octets):
        read = _LINE.fullmatch(line)
        if read is None:
            raise BadFile(_problem(number, line))
        name, realm, digest, remark = read.groups()
        size = len(digest)
        # 32 digits may be the first half of 64.
        if size == 32 and not ended and remark is None:
            raise BadFile(f"line {number} has no line feed and may be torn")
        names = tables.get((realm, size))
        if names is None:
            names = tables[realm, size] = found.setdefault((nfc(realm), _ALGORITHMS[size]), {})
        name = nfc(name)
        if name in names:
            raise BadFile(f"line {number} names a user of a realm for the second time")
        names[name] = digest
    if not found:
        raise BadFile("it holds no digest")
    return DigestIndex(found)


def _problem(number: int, line: str) -> str:
    fields = (*line.split(":"), "", "")
    if _PASSWORD_HASH.match(fields[1]):
        return f"line {number} is name:hash, as htpasswd writes it; {_WANTED}"
    if _PASSWORD_HASH.match(fields[2]):
        return f"line {number} holds a password hash; {_WANTED}"
    return f"line {number} is not name:realm:digest, with a digest of 32 or 64 hexadecimal digits"
