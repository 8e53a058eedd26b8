"""Password hashes, through ``libpass``, the maintained distribution of passlib. Only this module imports passlib.

A hasher of your own (for argon2-cffi or pwdlib) can take its place wherever a store has ``hasher=``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Any, cast

from authguard.accounts.account import Verdict
from authguard.errors import ConfigurationError
from authguard.source_location import short

#: The formats that new hashes may have, by passlib's names.
MAKES = ("bcrypt", "argon2", "pbkdf2_sha256", "scrypt")
#: The formats that are always read: these, and those that Apache's htpasswd writes.
READ = (*MAKES, "apr_md5_crypt", "sha512_crypt", "sha256_crypt", "ldap_sha1")
#: The weak formats that are read only if ``allow`` names them.
BY_NAME = (
    "plaintext",
    "des_crypt",
    "md5_crypt",
    "ldap_salted_sha1",
    "ldap_salted_sha256",
    "ldap_salted_sha512",
)

# passlib's own default for PBKDF2, 29,000, is from 2013. OWASP recommends 600,000 with SHA-256, which costs about as
# much as bcrypt at 12.
_COSTS: dict[str, Any] = {
    "pbkdf2_sha256__default_rounds": 600_000,
    "pbkdf2_sha256__min_rounds": 600_000,
    "bcrypt__min_rounds": 12,
}

_BCRYPT_MAX_BYTES = 72
# The cost of SHA-crypt grows with the password. At passlib's own limit of 4,096 bytes it is twenty times as high.
_MAX_BYTES = 1024

# passlib computes SHA-crypt in Python, for half a second at its default cost. Meanwhile all other threads, such as that
# of the event loop, get only time slices. apr1, MD5 crypt and DES crypt are in Python too, but end within a slice.
_BLOCKS_GIL = frozenset({"sha256_crypt", "sha512_crypt"})


class LibpassHasher:
    """Reads the formats of Apache's htpasswd and of passlib. New hashes are ``pbkdf2_sha256`` by default.

    - ``allow``: weak formats that are read too: ``plaintext``; ``des_crypt``, which reads only the first 8 bytes of a
      password; ``md5_crypt`` (``$1$``); and ``ldap_salted_sha1``, ``ldap_salted_sha256`` and ``ldap_salted_sha512``
      (``{SSHA}``, ``{SSHA256}``, ``{SSHA512}``), of which a stranger who has the file tries billions in a second.
    - ``makes``: the format of new hashes, one of ``MAKES``.

    Hashes of argon2 are read if argon2-cffi is installed (extra ``argon2``). Raises ``ConfigurationError`` for any
    other name, and if the passlib that is imported is not that of libpass.
    """

    def __init__(self, *, allow: Iterable[str] = frozenset(), makes: str = "pbkdf2_sha256") -> None:
        check_passlib()
        # Imported only now, because the old passlib fails while it is imported.
        from passlib.context import CryptContext  # noqa: PLC0415
        from passlib.exc import MissingBackendError  # noqa: PLC0415
        from passlib.utils.binary import bcrypt64  # noqa: PLC0415

        allowed = frozenset({allow} if isinstance(allow, str) else allow)
        if isinstance(allow, str) or not allowed <= set(BY_NAME):
            raise ConfigurationError("allow", f"{allow!r} is not a set of names out of {', '.join(BY_NAME)}")
        if makes not in MAKES:
            raise ConfigurationError("makes", f"{makes!r} is not one of {', '.join(MAKES)}")
        formats = [*READ, *(allowed - {"plaintext"})]
        deprecated = [name for name in formats if name not in MAKES]
        self._context: Any = CryptContext(schemes=formats, default=makes, deprecated=deprecated, **_COSTS)
        self._clear_unused_bits: Any = bcrypt64.repair_unused
        self._makes = makes
        self._plaintext = "plaintext" in allowed
        # The formats that are read as soon as a package is installed.
        self._missing: set[str] = set()
        # Otherwise passlib would load a backend at the first login, and every request would wait for that. It holds a
        # lock meanwhile, which would stay locked for ever in a child that is forked then.
        for name in formats:
            handler = self._context.handler(name)
            try:
                if hasattr(handler, "get_backend"):  # the others have one implementation, which needs no package
                    handler.get_backend()
            except MissingBackendError:
                self._missing.add(name)
                if name == makes:
                    raise ConfigurationError("makes", _package_problem(name)) from None

    def verify(self, password: str, stored: str) -> Verdict:
        """Compare a password with a stored hash. Never raises."""
        encoded = _encode(password)
        readable = self._readable(stored)
        if readable is None:
            return Verdict.UNREADABLE
        name, stored = readable
        if len(encoded) > (_BCRYPT_MAX_BYTES if name == "bcrypt" else _MAX_BYTES):
            return Verdict.TOO_LONG
        if b"\0" in encoded:
            return Verdict.WRONG
        if name == "plaintext":
            return Verdict.MATCH if hmac.compare_digest(encoded, _encode(stored)) else Verdict.WRONG
        try:
            return Verdict.MATCH if self._context.handler(name).verify(encoded, stored) else Verdict.WRONG
        except Exception:  # noqa: BLE001 - a package is missing or broken; the text of the error may quote the hash
            return Verdict.UNREADABLE

    def hash(self, password: str) -> str:
        """A new hash. Raises ``ValueError`` for a password that the format cannot take."""
        if self._makes == "bcrypt" and len(_encode(password)) > _BCRYPT_MAX_BYTES:
            msg = "bcrypt reads only 72 bytes of a password, and this one is longer"
            raise ValueError(msg)
        return cast("str", self._context.hash(password))

    def needs_rehash(self, stored: str) -> bool:
        """Whether its format is weaker than those of ``MAKES``, or its cost lower than that of a new hash."""
        readable = self._readable(stored)
        if readable is None:
            return False
        name, stored = readable
        return name == "plaintext" or bool(self._context.needs_update(stored))

    def blocks_gil(self, stored: str) -> bool:
        """Whether verifying it keeps the interpreter lock (GIL) from all other threads for long."""
        return self.format_of(stored) in _BLOCKS_GIL

    def reads(self, stored: str) -> bool:
        """Whether it is a complete hash in a format that is read."""
        return self._readable(stored) is not None

    def problem_of(self, stored: str) -> str | None:
        """Why it is not read, and what to do, without a part of it; None if it is read."""
        if self.reads(stored):
            return None
        if not isinstance(stored, str):
            return f"it is a {type(stored).__name__} and no text"
        if not stored:
            return "it is empty"
        # What a package is missing for is not recognised by its format.
        name = next((name for beginning, name in _BEGINNINGS.items() if stored.startswith(beginning)), None)
        if name in self._missing:
            return _package_problem(name)
        if self.format_of(stored) not in {None, "plaintext"}:
            return f"it is a hash of {self.format_of(stored)} that is cut off or damaged; make a new one"
        if name is None and stored[0] in "*!":
            return "the account is locked"
        if name is None:
            name = "des_crypt" if _DES_CRYPT.fullmatch(stored) else None if stored[0] in "${" else "plaintext"
        make = "make a hash with htpasswd -B"
        if name is None:
            return f"it is in an unknown format; {make}"
        allow = f', or read it with LibpassHasher(allow={{"{name}"}})' if name in BY_NAME else ""
        return f"it is {_WORDS.get(name, name)}; {make}{allow}"

    def format_of(self, stored: str) -> str | None:
        """The format that a hash begins like, by passlib's name; None if that format is not read."""
        if not isinstance(stored, str) or not stored:
            return None
        name = self._context.identify(stored)
        if name is not None:
            return str(name)
        # A hash in a format that is not read, or of a locked account, is not a plain-text password. Otherwise everybody
        # who sees the file could log in with the hash itself.
        return "plaintext" if self._plaintext and stored[0] not in "${*!" else None

    def _readable(self, stored: str) -> tuple[str, str] | None:
        """The format, and the hash as its library takes it; None if the hash is not read or not complete."""
        name = self.format_of(stored)
        if name is None:
            return None
        if name == "plaintext":
            return name, stored
        try:
            if name == "bcrypt":
                # The last characters of the salt and of the digest have unused bits. Some old libraries set them, and
                # passlib corrects them with a warning on standard error at every login.
                parts = (self._clear_unused_bits(part) for part in (stored[7:29], stored[29:]))
                stored = stored[:7] + "".join(parts)
            digest = self._context.handler(name).from_string(stored).checksum
        except Exception:  # noqa: BLE001 - see `verify`
            return None
        # passlib checks the length in all of these formats but ldap_sha1.
        return None if digest is None or (name == "ldap_sha1" and len(digest) != 28) else (name, stored)


def hash_problem(hasher: object, stored: object) -> str:
    """Why a hasher does not read a hash. One of the app's own may not be able to tell."""
    problem_of = getattr(hasher, "problem_of", None)
    return (problem_of and problem_of(stored)) or "give complete hashes in a format that it reads"


def _encode(text: str) -> bytes:
    # No password from the wire contains a surrogate. One from elsewhere must not raise an error that quotes it.
    return text.encode("utf-8", "surrogatepass")


# The formats that hashes of these beginnings have. Those of `BY_NAME`, and others that are never read.
_BEGINNINGS = {
    "$argon2": "argon2",
    "$2": "bcrypt",
    "$scrypt$": "scrypt",
    "$1$": "md5_crypt",
    "{SSHA}": "ldap_salted_sha1",
    "{SSHA256}": "ldap_salted_sha256",
    "{SSHA512}": "ldap_salted_sha512",
    "{SMD5}": "ldap_salted_md5",
    "{MD5}": "ldap_md5",
    "$y$": "yescrypt",
    "$7$": "scrypt of crypt(3)",
    "{PLAIN}": "plain text with a prefix",
}
_WORDS = {
    "plaintext": "plain text",
    "des_crypt": "DES crypt",
    "md5_crypt": "MD5 crypt",
    "ldap_salted_sha1": "salted SHA-1",
    "ldap_salted_sha256": "salted SHA-256",
    "ldap_salted_sha512": "salted SHA-512",
}
_DES_CRYPT = re.compile(r"[./0-9A-Za-z]{13}")
_PACKAGES = {"argon2": ("argon2-cffi", "authguard[argon2]"), "bcrypt": ("bcrypt", "bcrypt")}


def _package_problem(name: str) -> str:
    """What to install for a format."""
    package, installed = _PACKAGES.get(name, (name, name))
    return f"{name} needs the package {package}, which is not installed: pip install '{installed}'"


def check_passlib() -> None:
    """Raises ``ConfigurationError`` unless what ``import passlib`` finds is that of ``libpass``.

    Its version tells, and not the names of the installed distributions: both bring a package named ``passlib``, one may
    be in front of the other, and a frozen app has no names at all.
    """
    try:
        import passlib  # noqa: PLC0415 - an app without passwords does not import it
    except ModuleNotFoundError:
        raise ConfigurationError("passlib", "libpass is not installed: pip install libpass bcrypt") from None
    version = str(getattr(passlib, "__version__", "unknown"))
    # libpass began at 1.8, where passlib had ended with 1.7.4.
    if f"{version}.".startswith(tuple(f"1.{minor}." for minor in range(8))) or version == "unknown":
        raise ConfigurationError(
            "passlib",
            f"passlib {version} is imported from {short(str(passlib.__file__))}, which fails with bcrypt 5 and may "
            "have overwritten files of libpass: pip uninstall passlib libpass, then pip install libpass",
        )
