"""Password hashes, through passlib's maintained distribution ``libpass``. The only importer of passlib.

A hasher of your own (argon2-cffi, pwdlib) takes its place wherever a store takes ``hasher=``.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, cast

from authguard.accounts.account import Verdict
from authguard.errors import ConfigurationError

#: What new passwords may get, by passlib's names.
MAKES = ("bcrypt", "argon2", "pbkdf2_sha256", "scrypt")
#: What is read without being asked for: these, and what Apache's htpasswd writes.
READ = (*MAKES, "apr_md5_crypt", "sha512_crypt", "sha256_crypt", "ldap_sha1")
#: What is read only where it is allowed by name.
BY_NAME = ("plaintext", "des_crypt")

# passlib's own 29,000 is of 2013; this is what OWASP asks of PBKDF2 with SHA-256, and about as dear as bcrypt at 12.
_COSTS: dict[str, Any] = {
    "pbkdf2_sha256__default_rounds": 600_000,
    "pbkdf2_sha256__min_rounds": 600_000,
    "bcrypt__min_rounds": 12,
}

_BCRYPT_OCTETS = 72
# The cost of SHA-crypt grows with the password: 4,096 octets, where passlib draws its line, take twenty times as long.
_MOST_OCTETS = 1024

# passlib computes SHA-crypt in Python, for half a second at its own cost; whoever else wants the interpreter, the event
# loop above all, gets it in slices. apr1 and DES crypt are in Python too, and done within a slice.
_HOLDS_LOCK = frozenset({"sha256_crypt", "sha512_crypt"})


class LibpassHasher:
    """Reads the formats of Apache's htpasswd and passlib's own; makes ``pbkdf2_sha256`` unless told otherwise.

    ``allow`` names weak formats that are read all the same: ``{"plaintext"}``, ``{"des_crypt"}`` (which reads only the
    first 8 octets of a password). ``makes`` is the format of new hashes, one of ``MAKES``. Raises
    ``ConfigurationError`` for another name, and where the passlib that is installed is not libpass's.
    """

    def __init__(self, *, allow: Iterable[str] = frozenset(), makes: str = "pbkdf2_sha256") -> None:
        check_distribution([name for name in ("libpass", "passlib") if _installed(name)])
        # Only after its distribution was looked at: the other one fails while it is imported.
        from passlib.context import CryptContext  # noqa: PLC0415
        from passlib.exc import MissingBackendError  # noqa: PLC0415
        from passlib.utils.binary import bcrypt64  # noqa: PLC0415

        allowed = frozenset({allow} if isinstance(allow, str) else allow)
        if isinstance(allow, str) or not allowed <= set(BY_NAME):
            raise ConfigurationError("allow", f"{allow!r} is no set of names out of {', '.join(BY_NAME)}")
        if makes not in MAKES:
            raise ConfigurationError("makes", f"{makes!r} is none of {', '.join(MAKES)}")
        names = [*READ, *(allowed - {"plaintext"})]
        old = [name for name in names if name not in MAKES]
        self._context: Any = CryptContext(schemes=names, default=makes, deprecated=old, **_COSTS)
        self._without_unused_bits: Any = bcrypt64.repair_unused
        self._makes = makes
        self._plaintext = "plaintext" in allowed
        # Else passlib would load it at the first login, and the event loop with all its requests would wait for that.
        self._context.handler("bcrypt").get_backend()
        try:
            self._context.handler(makes).get_backend()
        except AttributeError:
            pass  # it has but one way, which is always there
        except MissingBackendError:
            raise ConfigurationError("makes", f"{makes} needs a package that is not installed") from None

    def verify(self, password: str, stored: str) -> Verdict:
        """Whether the password fits. Never raises."""
        octets = _octets(password)
        found = self._whole(stored)
        if found is None:
            return Verdict.UNREADABLE
        name, stored = found
        if len(octets) > (_BCRYPT_OCTETS if name == "bcrypt" else _MOST_OCTETS):
            return Verdict.TOO_LONG
        if b"\0" in octets:
            return Verdict.WRONG
        if name == "plaintext":
            return Verdict.MATCH if hmac.compare_digest(octets, _octets(stored)) else Verdict.WRONG
        try:
            return Verdict.MATCH if self._context.handler(name).verify(octets, stored) else Verdict.WRONG
        except Exception:  # noqa: BLE001 - the text may quote the hash; what it needs is not installed, or not sound
            return Verdict.UNREADABLE

    def hash(self, password: str) -> str:
        """A new hash. ``ValueError`` for a password that the format cannot take."""
        if self._makes == "bcrypt" and len(_octets(password)) > _BCRYPT_OCTETS:
            msg = "bcrypt reads 72 octets of a password, and this one has more"
            raise ValueError(msg)
        return cast("str", self._context.hash(password))

    def needs_rehash(self, stored: str) -> bool:
        """Whether it is of a weaker format than any of ``MAKES``, or cheaper than a new one of its own."""
        found = self._whole(stored)
        if found is None:
            return False
        name, stored = found
        return name == "plaintext" or bool(self._context.needs_update(stored))

    def blocks_gil(self, stored: str) -> bool:
        """Whether verifying it keeps the interpreter from every other thread for long."""
        return self.format_of(stored) in _HOLDS_LOCK

    def reads(self, stored: str) -> bool:
        """Whether it is a hash that is read here, and all of it."""
        return self._whole(stored) is not None

    def format_of(self, stored: str) -> str | None:
        """The name in passlib of the format that it begins as, None where that is not read here."""
        if not isinstance(stored, str) or not stored:
            return None
        name = self._context.identify(stored)
        if name is not None:
            return str(name)
        # What looks like a hash that is not read, or that was locked, is no password: whoever saw it could log in.
        return "plaintext" if self._plaintext and stored[0] not in "${*!" else None

    def _whole(self, stored: str) -> tuple[str, str] | None:
        """The format, and the hash as its own library takes it. None where it is not read, or only begins like one."""
        name = self.format_of(stored)
        if name is None:
            return None
        if name == "plaintext":
            return name, stored
        try:
            if name == "bcrypt":
                # The last characters of salt and digest have bits to spare. Some old libraries set them, which passlib
                # puts right with a warning to standard error at each login.
                mended = (self._without_unused_bits(part) for part in (stored[7:29], stored[29:]))
                stored = stored[:7] + "".join(mended)
            digest = self._context.handler(name).from_string(stored).checksum
        except Exception:  # noqa: BLE001 - see above
            return None
        # Of its formats passlib checks all lengths but this one's.
        return None if digest is None or (name == "ldap_sha1" and len(digest) != 28) else (name, stored)


def _octets(text: str) -> bytes:
    # A surrogate is in no password that came over the wire; this only keeps one from being an error that quotes it.
    return text.encode("utf-8", "surrogatepass")


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def check_distribution(installed: Sequence[str]) -> None:
    """``ConfigurationError`` unless of the two that bring the package ``passlib`` libpass is installed, and alone."""
    if "passlib" in installed:
        raise ConfigurationError(
            "passlib",
            "passlib 1.7.4 is installed, which fails with bcrypt 5 and overwrites libpass's files: "
            "pip uninstall passlib libpass, then pip install libpass",
        )
    if "libpass" not in installed:
        raise ConfigurationError("passlib", "it is not installed: pip install libpass bcrypt")
