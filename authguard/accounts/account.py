"""The account of a password login, and the ports that find or check one.

Write a ``PasswordStore`` for a database of password hashes, or a ``PasswordCheck`` for a directory that checks
passwords itself. A ``PasswordHasher`` reads the hashes of a store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from enum import Enum, auto
from typing import Annotated, Any, Final, Protocol, cast, runtime_checkable

from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS, NO_FACTS, Accepted, Principal
from authguard.reasons import Reason
from authguard.server_value import SERVER_ARGUMENT, ServerValue
from authguard.validation import names
from authguard.value_types import frozen


class KeepsOutcome(ServerValue):
    """An account that keeps the outcome of a login to it: the base of ``Account`` and ``DigestAccount``.

    The outcome is no field: it is neither compared, nor shown, nor copied.
    """

    __slots__ = ("_accepted",)

    _accepted: Accepted


@frozen
class Account(KeepsOutcome):
    """A user as a store knows it. ``password_hash`` is in the format of the store, and never a password.

    An account without a password has an empty hash, which no password matches. A ``disabled`` account is refused only
    after its password was verified, so that a stranger cannot find out that it exists. Raises ``ConfigurationError``
    for an empty subject, a hash that is not a string, a string in place of a set of roles, and claims that are not a
    mapping.
    """

    subject: str
    password_hash: str = field(repr=False)
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False, compare=False)
    disabled: bool

    def __init__(
        self,
        subject: Annotated[str, SERVER_ARGUMENT],
        password_hash: str,
        *,
        roles: AbstractSet[str] | Sequence[str] = frozenset(),
        scopes: AbstractSet[str] | Sequence[str] = frozenset(),
        claims: Mapping[str, Any] = NO_CLAIMS,
        disabled: bool = False,
    ) -> None:
        if not isinstance(password_hash, str):
            raise ConfigurationError(
                "password_hash", f"a {type(password_hash).__name__} is not a string; an account without one has ''"
            )
        object.__setattr__(self, "password_hash", password_hash)
        set_common_fields(self, subject, roles, scopes, claims, disabled)


# The class is frozen, and refuses every other assignment.
_keep_accepted = cast("Any", KeepsOutcome)._accepted.__set__  # noqa: SLF001 - of this module


def accepted_login(account: KeepsOutcome, scheme: str) -> Accepted:
    """The outcome of a login to this account by this scheme.

    It is kept with the account, so that it is made once if the store returns the same object each time. The principal
    is then that of many requests, and its claims are those of the account: the guard gives each request its own.
    """
    if KeepsOutcome not in type(account).__bases__:
        return _accept(account, scheme)  # a subclass may have roles that change
    try:
        accepted = account._accepted  # noqa: SLF001 - of this module
    except AttributeError:
        accepted = None
    if accepted is None or accepted.principal.scheme != scheme:
        accepted = _accept(account, scheme)
        _keep_accepted(account, accepted)
    return accepted


def _accept(account: Any, scheme: str) -> Accepted:
    claims = {} if account.claims is NO_CLAIMS else account.claims
    principal = Principal.checked(account.subject, account.roles, account.scopes, claims, None, scheme)
    return Accepted(principal, (), NO_FACTS)


def set_common_fields(
    account: object,
    subject: str,
    roles: AbstractSet[str] | Sequence[str],
    scopes: AbstractSet[str] | Sequence[str],
    claims: Mapping[str, Any],
    disabled: bool,
) -> None:
    """Check and set the fields that ``Account`` and ``DigestAccount`` have in common, which are all but the hash.

    Raises ``ConfigurationError``.
    """
    if not isinstance(subject, str) or not subject:
        raise ConfigurationError("subject", "give a non-empty string")
    if not isinstance(claims, Mapping):
        raise ConfigurationError("claims", f"a {type(claims).__name__} is not a mapping")
    set_field = object.__setattr__
    set_field(account, "subject", subject)
    set_field(account, "roles", names("roles", roles))
    set_field(account, "scopes", names("scopes", scopes))
    set_field(account, "claims", claims)
    set_field(account, "disabled", disabled)


class Verdict(Enum):
    """The result of comparing a password with a stored hash."""

    MATCH = auto()
    WRONG = auto()
    #: The format reads only the beginning of such a password (bcrypt reads 72 bytes), or the hasher takes none so long.
    TOO_LONG = auto()
    #: The hash is not in a format that the hasher reads.
    UNREADABLE = auto()


class PasswordHasher(Protocol):
    """Verifies passwords and makes hashes. ``LibpassHasher`` is one; write another for argon2-cffi or pwdlib.

    ``verify`` and ``hash`` may block: they are called in a thread of a pool. ``reads`` is called there too.
    """

    def verify(self, password: str, stored: str) -> Verdict:
        """Compare a password with a stored hash, in a time that does not depend on the password.

        Raises nothing, whatever the password and the hash.
        """
        ...

    def hash(self, password: str) -> str:
        """A new hash, in the format of new passwords. Raises ``ValueError`` for a password that it cannot take."""
        ...

    def needs_rehash(self, stored: str) -> bool:
        """Whether new hashes have a better format or a higher cost than this one."""
        ...

    def reads(self, stored: str) -> bool:
        """Whether this is a complete hash in a format that ``verify`` reads. It must be fast."""
        ...

    def blocks_gil(self, stored: str) -> bool:
        """Whether verifying this format keeps the interpreter lock (GIL) from all other threads for long."""
        ...


class NotNow(Enum):
    """The type of ``NOT_NOW``."""

    NOT_NOW = auto()


#: What an optional ``find_now`` returns if the answer is not in memory. ``find`` is called instead.
NOT_NOW: Final = NotNow.NOT_NOW


@runtime_checkable
class PasswordStore(Protocol):
    """Finds accounts by name. ``Basic`` verifies the password.

    Write ``find``, and name the hasher that reads the hashes::

        class Users:
            hasher = LibpassHasher()

            async def find(self, username: str) -> Account | None:
                row = await database.fetch_one("select hash from users where name = :name", {"name": username})
                return None if row is None else Account(username, row["hash"], roles={"user"})

    A store never sees a password. It may also have a method ``find_now(username)`` that is not async: it returns the
    same answer if that is in memory, and ``NOT_NOW`` if not. It is called first, and without a deadline, because the
    timer would cost more than the answer.
    """

    @property
    def hasher(self) -> PasswordHasher:
        """The hasher that reads the hashes of this store."""
        ...

    async def find(self, username: str) -> Account | None:
        """The account of this name, in NFC; None if there is none. Raises ``BackendUnavailable`` if it cannot tell."""
        ...


@runtime_checkable
class SampledStore(PasswordStore, Protocol):
    """A ``PasswordStore`` that can list hashes, so that an unknown name takes as long as a known one."""

    def sample(self) -> Sequence[str]:
        """The stored hashes, or some of them, in a stable order and with the same mix of formats and costs.

        If it is empty, the first hashes that are verified take its place.
        """
        ...


@runtime_checkable
class RolesListed(Protocol):
    """A store or directory that can list its roles, so that the audit finds a role that nobody has."""

    def roles_given(self) -> AbstractSet[str]:
        """All roles that its accounts have now."""
        ...


@runtime_checkable
class PasswordCheck(Protocol):
    """A directory that checks passwords itself and shows no hash, such as LDAP or PAM.

    Write ``check``::

        class Directory:
            async def check(self, username: str, password: str) -> Account | Reason:
                if not await ldap.bind(f"uid={escape(username)},ou=people", password):
                    return PASSWORD_WRONG
                return Account(username, "", roles={"staff"})

    The password is never empty, because LDAP would take that for an anonymous login, which succeeds; and neither is the
    name. ``Basic(empty_password=True)`` and ``Basic(empty_username=True)`` permit it for directories of API keys.
    """

    async def check(self, username: str, password: str) -> Account | Reason:
        """The account if the password is right, otherwise the reason to deny with.

        An unknown name must take as long as a wrong password. Raises ``BackendUnavailable`` if it cannot tell.
        """
        ...
