"""What a Digest challenge offers, and the secrets that its nonces are minted with; checked while the app is built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from authguard.accounts.digest_account import hash_of
from authguard.errors import ConfigurationError
from authguard.validation import check_int
from authguard.wire.digest import Hash

#: The shortest secret, in octets: as long as the hash that it keys (RFC 2104 section 3).
SHORTEST = 32

# https://www.rfc-editor.org/rfc/rfc3986.html#section-3.3: segments of pchar, none of them empty.
_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})++)+")
# Each connection may have so much of it kept.
_MOST_OCTETS = 64 * 1024 * 1024
_SESSION = "-SESS"
# The stronger first, less what clients break on: curl before 8, httpx and aiohttp give up where the first line says
# SHA-512-256, and never see the second.
_ORDER = ("SHA-256", "SHA-512-256", "MD5")
_MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one, for the environment of the app"


class PerProcess(Enum):
    """What nobody would want by accident, said in words."""

    PER_PROCESS = "a secret of this process alone"

    def __repr__(self) -> str:
        return self.name


#: Nonces die with the process, and no other process takes them: for one process, and for tests.
PER_PROCESS: Final = PerProcess.PER_PROCESS

SecretArgument: TypeAlias = str | bytes | Sequence[str | bytes] | PerProcess


@dataclass(frozen=True, slots=True)
class DigestAlgorithm:
    """One algorithm of RFC 7616 section 3.2. ``stored`` is the one that a store keeps ``H(A1)`` for."""

    name: str
    stored: str
    session: bool
    hashed: Hash = field(repr=False)


def parse_algorithms(algorithms: Iterable[str]) -> tuple[DigestAlgorithm, ...]:
    """The algorithms, in the order of their challenges. ``ConfigurationError`` for an unknown one or another order."""
    given = tuple(algorithms) if isinstance(algorithms, Iterable) and not isinstance(algorithms, str) else ()
    if not given or not all(isinstance(name, str) for name in given):
        raise ConfigurationError("algorithms", f'{algorithms!r}: give names in a tuple, such as ("SHA-256",)')
    found = tuple(_algorithms(name) for name in given)
    if len({one.name.upper() for one in found}) < len(found):
        raise ConfigurationError("algorithms", "one stands twice; RFC 7616 section 3.7 wants one challenge of each")
    ranks = [_ORDER.index(one.stored) for one in found]
    if ranks != sorted(ranks):
        wanted = tuple(one.name for one in sorted(found, key=lambda one: _ORDER.index(one.stored)))
        raise ConfigurationError(
            "algorithms", f"clients take the first that they know, or stop at one that they do not: write {wanted!r}"
        )
    return found


def _algorithms(name: str) -> DigestAlgorithm:
    session = name.upper().endswith(_SESSION)
    stored = name.upper().removesuffix(_SESSION)
    return DigestAlgorithm(stored + "-sess" if session else stored, stored, session, hash_of(stored))


def check_qop(qop: Iterable[str]) -> tuple[str, ...]:
    """The kinds of protection that are offered. RFC 7616 section 3.3."""
    given = tuple(qop) if isinstance(qop, Iterable) and not isinstance(qop, str) else ()
    if given not in [("auth",), ("auth", "auth-int"), ("auth-int",)]:
        raise ConfigurationError("qop", f'{qop!r}: give ("auth",), ("auth", "auth-int") or ("auth-int",)')
    return given


def check_secrets(secret: SecretArgument | None) -> tuple[bytes, ...] | None:
    """The secrets as octets, the one that mints first; None is ``PER_PROCESS``. ``ConfigurationError``."""
    if secret is PER_PROCESS:
        return None
    given = [secret] if isinstance(secret, str | bytes) else secret
    if given is None or isinstance(given, PerProcess) or not isinstance(given, Sequence) or not given:
        raise ConfigurationError("secret", f"give one that all processes share; {_MAKE_ONE}. PER_PROCESS is for one")
    # What of an environment is not UTF-8 comes as halves of surrogate pairs, and the codec's error would quote it all.
    found = tuple(one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in given)
    for one in found:
        if not isinstance(one, bytes) or len(one) < SHORTEST:
            raise ConfigurationError("secret", f"give at least {SHORTEST} octets that nobody can guess; {_MAKE_ONE}")
    return found


def check_held(held: AbstractSet[tuple[str, str]], realm: str, algorithms: Iterable[DigestAlgorithm]) -> None:
    """``ConfigurationError`` where a store has nobody who could answer a challenge."""
    for one in algorithms:
        if (realm, one.stored) in held:
            continue
        there = ", ".join(f"{algorithm} of realm {name!r}" for name, algorithm in sorted(held)) or "none at all"
        raise ConfigurationError(
            "accounts",
            f"they hold no {one.stored} digest of realm {realm!r}, so that nobody could log in by it; they hold: "
            f"{there}. Offer what they hold, or add to it: python -m authguard htdigest --algorithm {one.stored} "
            f"{realm} NAME >> FILE",
        )


def check_prefix(prefix: str) -> bytes:
    """What a proxy takes off the path; ``ConfigurationError`` for what is no beginning of one."""
    if not isinstance(prefix, str) or (prefix and not _PREFIX.fullmatch(prefix)):
        raise ConfigurationError("public_prefix", f'{prefix!r}: write it as in "/api", as clients send it')
    return prefix.encode("ascii")


def check_limit(limit: int) -> int:
    """The octets of a body; ``ConfigurationError`` for more than anybody should keep for a stranger."""
    return check_int("limit", limit, least=0, most=_MOST_OCTETS, unit="bytes")
