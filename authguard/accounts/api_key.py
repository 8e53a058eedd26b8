"""An API key as a store keeps it, how one is made and rotated, and the port of the stores.

A store never sees the secret of a key: ``new_key`` returns the text for the owner once, and what is stored holds only
its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field, replace
from functools import lru_cache
from typing import Annotated, Any, Protocol, TypeAlias, cast, runtime_checkable

from authguard.accounts.account import KeepsOutcome
from authguard.errors import ConfigurationError
from authguard.model import Accepted, Principal
from authguard.request import address_of
from authguard.server_value import SERVER_ARGUMENT
from authguard.validation import check_seconds, names
from authguard.value_types import frozen, value
from authguard.wire.api_key import ALPHABET, ID_LENGTH, SECRET_LENGTH, ApiKeyText, is_key_id, is_label

#: A secret of the app that goes into the hash of each key, so that a stolen store alone does not even tell which keys
#: are in it. Text is encoded in UTF-8.
Pepper: TypeAlias = str | bytes

#: The hash of a key: SHA-256 in hexadecimal digits. No key has all zeros.
DIGEST_LENGTH = 64
NO_DIGEST = "0" * DIGEST_LENGTH
#: The longest time of a rotation in which both keys are good, in seconds: a year.
MOST_OVERLAP = 366 * 86_400.0
#: The shortest pepper, in bytes.
LEAST_PEPPER = 16
#: The latest time that a key may have, in seconds since the epoch: that of the year 9999.
_LATEST = 253_402_300_799.0


@frozen
class StoredKey(KeepsOutcome):
    """An API key as a store keeps it. Times are seconds since the epoch.

    - ``id``: the public part of the key, by which it is found: 12 letters and digits.
    - ``digest``: ``key_digest`` of the whole key, in 64 hexadecimal digits.
    - ``owner``: who acts with it: the subject of the principal. ``name`` tells the keys of one owner apart. A new key
      of the same owner and name takes the place of the old one.
    - ``roles``, ``scopes``: what its principal has.
    - ``prefix``, ``environment``: how the key begins: ``acme_live_...`` has the prefix ``acme`` and the environment
      ``live``. An empty environment is none.
    - ``networks``: the IP networks that it may be used from, such as ``"192.0.2.0/24"``. None at all is any network.
    - ``created``; ``expires``, ``revoked`` and ``last_used``, which are None until then.
    - ``successor``: the id of the key that replaces it, while both are good.

    Raises ``ConfigurationError`` for anything else.
    """

    id: str
    digest: str = field(repr=False)
    owner: str
    name: str
    roles: frozenset[str]
    scopes: frozenset[str]
    prefix: str
    environment: str
    networks: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    successor: str | None

    def __init__(
        self,
        id: Annotated[str, SERVER_ARGUMENT],  # noqa: A002 - the name of the field
        digest: str,
        *,
        owner: str,
        name: str,
        roles: AbstractSet[str] | Sequence[str] = frozenset(),
        scopes: AbstractSet[str] | Sequence[str] = frozenset(),
        prefix: str,
        environment: str = "",
        networks: Iterable[str] = (),
        created: float,
        expires: float | None = None,
        revoked: float | None = None,
        last_used: float | None = None,
        successor: str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "id", check_key_id("id", id))
        if not isinstance(digest, str) or not is_digest(digest):
            raise ConfigurationError("digest", "give key_digest(...): 64 hexadecimal digits in lower case")
        put(self, "digest", digest)
        put(self, "owner", _check_text("owner", owner))
        put(self, "name", _check_text("name", name))
        put(self, "roles", names("roles", roles))
        put(self, "scopes", names("scopes", scopes))
        check_prefix(prefix, environment)
        put(self, "prefix", prefix)
        put(self, "environment", environment)
        put(self, "networks", check_networks(networks))
        put(self, "created", _check_time("created", created))
        for argument, time in (("expires", expires), ("revoked", revoked), ("last_used", last_used)):
            put(self, argument, None if time is None else _check_time(argument, time))
        put(self, "successor", None if successor is None else check_key_id("successor", successor))

    def allows(self, client: str | None) -> bool:
        """Whether the key may be used from this address, which the server reports.

        An address that the server does not report, or that is none, is in no network.
        """
        if not self.networks:
            return True
        address = None if client is None else address_of(client)
        return address is not None and any(address in network for network in _parsed(self.networks))


def accepted_key(key: StoredKey, scheme: str) -> Accepted:
    """The outcome of a request with this key by this scheme.

    It is kept with the key, so that it is made once if the store returns the same object each time. The claims of the
    principal are ``key_id``, ``key_name``, ``key_environment`` and ``iat``, when it was created. A record has the fact
    ``key``, which is the id.
    """
    try:
        accepted = key._accepted  # noqa: SLF001 - of its base class
    except AttributeError:
        accepted = None
    if accepted is None or accepted.principal.scheme != scheme:
        claims = {"key_id": key.id, "key_name": key.name, "key_environment": key.environment, "iat": key.created}
        principal = Principal.checked(key.owner, key.roles, key.scopes, claims, key.expires, scheme)
        accepted = Accepted(principal, (), {"key": key.id})
        if type(key) is StoredKey:  # a subclass may have roles that change
            _keep_accepted(key, accepted)
    return accepted


# The class is frozen, and refuses every other assignment.
_keep_accepted = cast("Any", KeepsOutcome)._accepted.__set__  # noqa: SLF001 - of its base class


@runtime_checkable
class ApiKeyStore(Protocol):
    """Finds API keys by their id. ``ApiKey`` and ``ApiKeys`` compare the digest, and judge whether a key is good.

    Write ``find``::

        class Keys:
            async def find(self, key_id: str) -> StoredKey | None:
                row = await database.fetch_one("select * from api_keys where id = :id", {"id": key_id})
                return None if row is None else StoredKey(**row)

    A store never sees a key, only its id. It returns revoked and expired keys too, so that a record can say so. It may
    have two more methods:

    - ``find_now(key_id)``, not async: the same answer if that is in memory, and ``NOT_NOW`` if not. It is called first,
      and without a deadline, because the timer would cost more than the answer.
    - ``async def write_last_uses(uses)``: store when each of these keys was last used, a mapping from the id to seconds
      since the epoch. It is called every few seconds, never while a request waits, and with each key at most once a
      minute. A time that is older than the stored one is to be ignored: other workers write too.
    """

    async def find(self, key_id: str) -> StoredKey | None:
        """The key of this id, whatever its state; None if there is none. Raises ``BackendUnavailable``."""
        ...


@runtime_checkable
class LastUseStore(Protocol):
    """An ``ApiKeyStore`` that keeps when each key was last used."""

    async def write_last_uses(self, uses: Mapping[str, float]) -> None:
        """Store the times of the last uses, by id, in seconds since the epoch. Raises ``BackendUnavailable``."""
        ...


class ApiKeyAdmin(Protocol):
    """What the command needs of a store: it lists, adds and changes keys. Apps that make keys may use it too.

    Each method is one step: of two changes at the same time, the second one sees what the first one has written.
    Raises ``BackendUnavailable`` if it cannot tell, and ``ConfigurationError`` for an id that is taken or unknown.
    """

    async def keys(self) -> Sequence[StoredKey]:
        """All keys with their last uses, the oldest first."""
        ...

    async def add(self, key: StoredKey) -> None:
        """Store a new key."""
        ...

    async def change(self, key_id: str, change: Callable[[StoredKey], Sequence[StoredKey]]) -> Sequence[StoredKey]:
        """Store what ``change`` makes of the key of this id: itself with other fields, and perhaps new keys.

        Returns what was stored. An exception out of ``change`` changes nothing.
        """
        ...


@value
class NewKey:
    """A new key: ``text`` for its owner, to be shown once and never stored, and ``stored`` for the store."""

    text: str = field(repr=False)
    stored: StoredKey


@value
class Rotation:
    """A new key in the place of an old one. Store both: ``old`` now expires, and names its successor."""

    new: NewKey
    old: StoredKey


def new_key(
    owner: str,
    name: str,
    *,
    prefix: str,
    environment: str = "",
    roles: AbstractSet[str] | Sequence[str] = frozenset(),
    scopes: AbstractSet[str] | Sequence[str] = frozenset(),
    networks: Iterable[str] = (),
    expires: float | None = None,
    pepper: Pepper | None = None,
    now: float,
) -> NewKey:
    """Make a key: ``new_key("alice", "ci", prefix="acme", environment="live", now=time.time())``.

    The arguments are fields of ``StoredKey``. ``pepper`` is that of the scheme. ``now`` is the time in seconds since
    the epoch. Show ``text`` to the owner, and give ``stored`` to the store. Raises ``ConfigurationError``.
    """
    label = check_prefix(prefix, environment)
    if expires is not None and _check_time("expires", expires) <= now:
        raise ConfigurationError("expires", "it is in the past, and the key could never be used")
    text = ApiKeyText.write(label, _random(ID_LENGTH), _random(SECRET_LENGTH))
    stored = StoredKey(
        text.id,
        key_digest(text.text, pepper),
        owner=owner,
        name=name,
        roles=roles,
        scopes=scopes,
        prefix=prefix,
        environment=environment,
        networks=networks,
        created=now,
        expires=expires,
    )
    return NewKey(text.text.decode("ascii"), stored)


def rotate_key(old: StoredKey, *, overlap: float, pepper: Pepper | None = None, now: float) -> Rotation:
    """Make a key that replaces ``old``, which stays good for ``overlap`` seconds, up to a year.

    The new key has the same owner, name, roles, scopes and networks. If the old one was to expire, the new one lives as
    long as that was to live. Raises ``ConfigurationError`` for a key that is revoked, expired or being replaced.
    """
    check_seconds("overlap", overlap, most=MOST_OVERLAP)
    if old.revoked is not None or old.successor is not None or (old.expires is not None and old.expires <= now):
        raise ConfigurationError("key", f"{old.id} is revoked, expired or replaced already; make a new one")
    new = new_key(
        old.owner,
        old.name,
        prefix=old.prefix,
        environment=old.environment,
        roles=old.roles,
        scopes=old.scopes,
        networks=old.networks,
        expires=None if old.expires is None else now + old.expires - old.created,
        pepper=pepper,
        now=now,
    )
    ends = min(now + overlap, math.inf if old.expires is None else old.expires)
    return Rotation(new, replace(old, expires=ends, successor=new.stored.id))


def key_digest(text: str | bytes, pepper: Pepper | None = None) -> str:
    """The SHA-256 of a whole key in hexadecimal digits; with a pepper, HMAC-SHA-256 (RFC 2104) under it.

    One round is enough: a secret of 160 random bits cannot be guessed, as a password can.
    """
    data = text.encode() if isinstance(text, str) else text
    if pepper is None:
        return hashlib.sha256(data).hexdigest()
    return hmac.digest(check_pepper(pepper), data, "sha256").hex()


def check_pepper(pepper: Pepper) -> bytes:
    """The bytes of a pepper. Raises ``ConfigurationError`` for one that could be guessed."""
    data = pepper.encode() if isinstance(pepper, str) else pepper
    if not isinstance(data, bytes) or len(data) < LEAST_PEPPER:
        raise ConfigurationError("pepper", f"give at least {LEAST_PEPPER} random bytes; `authguard secret` makes some")
    return data


def check_prefix(prefix: str, environment: str = "") -> str:
    """The label with which keys of this prefix and environment begin. Raises ``ConfigurationError``."""
    if not isinstance(prefix, str) or not is_label(prefix):
        raise ConfigurationError("prefix", f"{prefix!r} is not a prefix; write a-z, 0-9 and underscores: acme")
    if not isinstance(environment, str) or (
        environment and not (environment.isalnum() and is_label(f"e{environment}"))
    ):
        raise ConfigurationError("environment", f"{environment!r} is not an environment; write a-z and 0-9: live")
    label = f"{prefix}_{environment}" if environment else prefix
    if not is_label(label):
        raise ConfigurationError("prefix", "it has more than 40 characters, with the environment")
    return label


def check_key_id(argument: str, key_id: str) -> str:
    """The id of a key. Raises ``ConfigurationError``."""
    if not isinstance(key_id, str) or not is_key_id(key_id):
        raise ConfigurationError(argument, f"give the id of a key: {ID_LENGTH} letters and digits")
    return key_id


def check_networks(networks: Iterable[str]) -> tuple[str, ...]:
    """IP networks in their usual spelling: ``192.0.2.0/24``. Raises ``ConfigurationError``."""
    if isinstance(networks, str | bytes) or not isinstance(networks, Iterable):
        raise ConfigurationError("networks", 'give a list of networks: ["192.0.2.0/24"]')
    given = tuple(networks)
    if not given:
        return ()
    if not all(isinstance(network, str) for network in given):
        raise ConfigurationError("networks", "a network is a text such as 192.0.2.0/24")
    try:
        return tuple(map(str, _parsed(given)))
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError("networks", problem)


def is_digest(text: str) -> bool:
    """Whether it is a SHA-256 in lower-case hexadecimal digits."""
    return len(text) == DIGEST_LENGTH and not text.strip("0123456789abcdef") and text != NO_DIGEST


@lru_cache(4096)
def _parsed(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, networks))


def _check_text(argument: str, text: str) -> str:
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise ConfigurationError(argument, f"{text!r} is not a name; give printable characters")
    return text


def _check_time(argument: str, time: float) -> float:
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time <= _LATEST:
        raise ConfigurationError(argument, f"{time!r} is not a number of seconds since the epoch")
    return time


def _random(length: int) -> str:
    return "".join(chr(secrets.choice(ALPHABET)) for _ in range(length))
