"""The ports that schemes know: an account, a store that finds one, a directory that checks a password itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS
from authguard.reasons import Reason
from authguard.validation import names


@dataclass(frozen=True, slots=True, init=False)
class Account:
    """A user as a store knows it. ``password_hash`` is in the store's own format, never a password.

    A ``disabled`` account is refused after its password was verified, so that nobody learns that it is there. An
    account without a password has an empty hash, which no password fits. Raises ``ConfigurationError`` for an empty
    subject, for a hash that is no ``str``, for a ``str`` of roles and for claims that are no mapping.
    """

    subject: str
    password_hash: str = field(repr=False)
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False, compare=False)
    disabled: bool

    def __init__(
        self,
        subject: str,
        password_hash: str,
        *,
        roles: AbstractSet[str] | Sequence[str] = frozenset(),
        scopes: AbstractSet[str] | Sequence[str] = frozenset(),
        claims: Mapping[str, Any] = NO_CLAIMS,
        disabled: bool = False,
    ) -> None:
        if not isinstance(password_hash, str):
            raise ConfigurationError("password_hash", "give a str; an empty one for an account without a password")
        object.__setattr__(self, "password_hash", password_hash)
        fill(self, subject, roles, scopes, claims, disabled)


def fill(
    account: object,
    subject: str,
    roles: AbstractSet[str] | Sequence[str],
    scopes: AbstractSet[str] | Sequence[str],
    claims: Mapping[str, Any],
    disabled: bool,
) -> None:
    """What every kind of account has, checked. Raises ``ConfigurationError``."""
    if not isinstance(subject, str) or not subject:
        raise ConfigurationError("subject", "an account is named by a non-empty string")
    if not isinstance(claims, Mapping):
        raise ConfigurationError("claims", "give a mapping")
    put = object.__setattr__
    put(account, "subject", subject)
    put(account, "roles", names("roles", roles))
    put(account, "scopes", names("scopes", scopes))
    put(account, "claims", claims)
    put(account, "disabled", disabled)


class NotNow(Enum):
    """The answer of a ``find_now`` that would have to wait."""

    NOT_NOW = auto()


#: Returned by an optional ``find_now`` if the answer must be waited for: ``find`` is called instead.
NOT_NOW: Final = NotNow.NOT_NOW


class Verdict(Enum):
    """What a hasher says of a password and a stored hash."""

    MATCH = auto()
    WRONG = auto()
    #: The format cannot tell this password from its own beginning (bcrypt reads 72 octets), or no password is so long.
    TOO_LONG = auto()
    #: No format that is known here, or one that is not allowed.
    UNREADABLE = auto()


class PasswordHasher(Protocol):
    """Verifies passwords. It blocks for as long as a hash takes, and is only called in a thread of the pool."""

    def verify(self, password: str, stored: str) -> Verdict:
        """Compares in constant time, whatever the password. Raises nothing for any password or stored hash."""
        ...

    def hash(self, password: str) -> str:
        """A new hash in the format that new passwords get. ``ValueError`` for a password that it cannot take."""
        ...

    def needs_rehash(self, stored: str) -> bool:
        """Whether a better format or cost is used for new passwords."""
        ...

    def reads(self, stored: str) -> bool:
        """Whether this is a hash in a format that is read here, and all of it. Verifies nothing, and costs little."""
        ...

    def blocks_gil(self, stored: str) -> bool:
        """Whether verifying this format keeps the interpreter lock from every other thread for long."""
        ...


@runtime_checkable
class PasswordStore(Protocol):
    """Finds accounts by name for ``Basic``, which verifies the password.

    Write ``find``, and say which hasher reads the hashes::

        class Users:
            hasher = LibpassHasher()

            async def find(self, username: str) -> Account | None:
                row = await database.fetch_one("select hash from users where name = :name", {"name": username})
                return None if row is None else Account(username, row["hash"], roles={"user"})

    A store never sees a password. It may also have ``find_now(username)``, not async: the same answer if it is in
    memory, ``NOT_NOW`` if it must be waited for. It is called first, without a deadline, whose timer would cost more
    than the answer.
    """

    @property
    def hasher(self) -> PasswordHasher:
        """What reads the hashes of this store."""
        ...

    async def find(self, username: str) -> Account | None:
        """The account of this name, None where there is none. ``BackendUnavailable`` where it cannot be told."""
        ...


@runtime_checkable
class SampledStore(PasswordStore, Protocol):
    """A store that can show which hashes it holds, so that a name that is unknown costs what a known one does."""

    def sample(self) -> Sequence[str]:
        """The stored hashes, or some of them, in a stable order; all formats and costs in their proportions."""
        ...


@runtime_checkable
class RolesListed(Protocol):
    """A store or a directory that can list its roles, so that the audit finds one that nobody has."""

    def roles_given(self) -> AbstractSet[str]:
        """All roles that its accounts have now."""
        ...


@runtime_checkable
class PasswordCheck(Protocol):
    """A directory that shows no hash (LDAP, PAM): it checks a password itself."""

    async def check(self, username: str, password: str) -> Account | Reason:
        """The account where the password fits, else why not. It must cost the same for a name that is unknown."""
        ...


Passwords: TypeAlias = PasswordStore | PasswordCheck
