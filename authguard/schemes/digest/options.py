"""Checks of the options of ``Digest``, made while the app is built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field

from authguard.accounts.digest_account import hash_of
from authguard.errors import ConfigurationError
from authguard.validation import check_flag, check_int
from authguard.value_types import frozen
from authguard.wire.digest import Hash

# https://www.rfc-editor.org/rfc/rfc3986.html#section-3.3: segments of pchar, none of them empty.
_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})++)+")
# https://www.rfc-editor.org/rfc/rfc3986.html#section-3.2: a host, and a port if it is not the default one.
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{1,5})?")
# A client can make the server hold this much memory for each of its connections.
_MAX_LIMIT = 64 * 1024 * 1024
_SESSION = "-SESS"
# The strongest first, but SHA-512-256 after SHA-256: curl before 8, httpx and aiohttp give up if the first challenge
# has SHA-512-256, and do not read the second one.
_ORDER = ("SHA-256", "SHA-512-256", "MD5")


@frozen
class DigestAlgorithm:
    """An algorithm of RFC 7616 section 3.2. ``stored`` is its name without ``-sess``: stores have ``H(A1)`` by it."""

    name: str
    stored: str
    session: bool
    hashed: Hash = field(repr=False)


def parse_algorithms(algorithms: Iterable[str]) -> tuple[DigestAlgorithm, ...]:
    """The algorithms, in the order of their challenges.

    Raises ``ConfigurationError`` if one is unknown or listed twice, or if clients would break on the order.
    """
    names = tuple(algorithms) if isinstance(algorithms, Iterable) and not isinstance(algorithms, str) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigurationError("algorithms", f'{algorithms!r} is not a tuple of names; write ("SHA-256",)')
    parsed = tuple(_parse_algorithm(name) for name in names)
    if len({algorithm.name.upper() for algorithm in parsed}) < len(parsed):
        raise ConfigurationError(
            "algorithms", f"an algorithm is listed twice in {names!r}; each has one challenge (RFC 7616 section 3.7)"
        )
    ranks = [_ORDER.index(algorithm.stored) for algorithm in parsed]
    if ranks != sorted(ranks):
        ordered = sorted(parsed, key=lambda algorithm: _ORDER.index(algorithm.stored))
        wanted = tuple(algorithm.name for algorithm in ordered)
        raise ConfigurationError(
            "algorithms", f"clients use the first that they know, or stop at one that they do not: write {wanted!r}"
        )
    return parsed


def _parse_algorithm(name: str) -> DigestAlgorithm:
    session = name.upper().endswith(_SESSION)
    stored = name.upper().removesuffix(_SESSION)
    return DigestAlgorithm(stored + "-sess" if session else stored, stored, session, hash_of(stored))


def check_qop(qop: Iterable[str]) -> tuple[str, ...]:
    """The offered qualities of protection. RFC 7616 section 3.3."""
    offered = tuple(qop) if isinstance(qop, Iterable) and not isinstance(qop, str) else ()
    if offered not in [("auth",), ("auth", "auth-int"), ("auth-int",)]:
        raise ConfigurationError("qop", f'{qop!r} is not ("auth",), ("auth", "auth-int") or ("auth-int",)')
    return offered


def check_rfc2069(rfc2069: bool, algorithms: Iterable[str], qop: Sequence[str]) -> bool:
    """Whether responses of RFC 2069 are accepted. Raises ``ConfigurationError`` if none could be."""
    if check_flag("rfc2069", rfc2069) and "MD5" not in algorithms:
        raise ConfigurationError("rfc2069", 'RFC 2069 knows MD5 alone: add "MD5" at the end of algorithms')
    if rfc2069 and "auth" not in qop:
        raise ConfigurationError("rfc2069", 'it would go round qop=("auth-int",); offer ("auth", "auth-int")')
    return rfc2069


def check_realms_held(held: AbstractSet[tuple[str, str]], realm: str, algorithms: Iterable[DigestAlgorithm]) -> None:
    """Raise ``ConfigurationError`` if nobody could answer the challenge of an algorithm.

    ``held``: the (realm, algorithm) pairs for which the store has an ``H(A1)``.
    """
    for algorithm in algorithms:
        if (realm, algorithm.stored) in held:
            continue
        listed = ", ".join(f"{stored} of realm {name!r}" for name, stored in sorted(held)) or "none at all"
        raise ConfigurationError(
            "accounts",
            f"the store has no {algorithm.stored} digest of realm {realm!r}, so nobody could log in; it has: {listed}. "
            f"Offer one of these, or add accounts: python -m authguard htdigest --algorithm {algorithm.stored} "
            f"{realm} NAME >> FILE",
        )


def check_prefix(prefix: str) -> bytes:
    """The prefix that a proxy removes from the path, as bytes. Raises ``ConfigurationError``."""
    if not isinstance(prefix, str) or (prefix and not _PREFIX.fullmatch(prefix)):
        raise ConfigurationError("public_prefix", f'{prefix!r} is not a path as clients send it, such as "/api"')
    return prefix.encode("ascii")


def check_authority(authority: str | None) -> bytes | None:
    """The public host as bytes; None if the field ``Host`` names it. Raises ``ConfigurationError``."""
    if authority is None:
        return None
    if not isinstance(authority, str) or not _AUTHORITY.fullmatch(authority):
        raise ConfigurationError(
            "public_authority", f'{authority!r} is not a host as clients write it, such as "cameras.example:8443"'
        )
    return authority.encode("ascii")


def check_limit(limit: int) -> int:
    """The longest body in bytes. Raises ``ConfigurationError`` for more than a server should hold for a stranger."""
    return check_int("limit", limit, least=0, most=_MAX_LIMIT, unit="bytes")
