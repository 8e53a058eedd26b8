"""The port that schemes know: a key that verifies, and a source of such keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jwt.algorithms import Algorithm, get_default_algorithms

from authguard.errors import ConfigurationError, InvalidSignature

# RFC 7518 section 3.1 and RFC 8037: what PyJWT implements, less `none` and less its alias ES521.
ALGORITHMS: dict[str, Algorithm] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name not in {"none", "ES521"}
}


def check_algorithms(algorithms: Iterable[str]) -> frozenset[str]:
    """The algorithms as a set (RFC 8725 section 3.1).

    ``ConfigurationError`` for a bare string, an unknown name, ``none``, and HMAC beside public-key algorithms: a
    public key would then do as a secret.
    """
    if isinstance(algorithms, str):
        raise ConfigurationError("algorithms", f'{algorithms!r} is one string; write ["{algorithms}"]')
    given = tuple(algorithms) if isinstance(algorithms, Iterable) else (None,)
    if not all(isinstance(name, str) for name in given):
        raise ConfigurationError("algorithms", 'give a list of names, such as ["RS256"]')
    found = frozenset(map(str, given))
    if not found:
        raise ConfigurationError("algorithms", 'name what your issuer signs with, such as ["RS256"]')
    for name in found:
        if name not in ALGORITHMS:
            raise ConfigurationError("algorithms", f"{name!r} is none of {', '.join(sorted(ALGORITHMS))}")
    if 0 < sum(name.startswith("HS") for name in found) < len(found):
        raise ConfigurationError("algorithms", "HMAC (HS...) and public keys do not go together under one issuer")
    return found


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key bound to the one algorithm that it verifies (RFC 8725 section 3.1)."""

    algorithm: str
    kid: str | None
    #: PyJWT's prepared key: a public key of ``cryptography``, or an HMAC secret.
    material: Any = field(repr=False, hash=False)

    def verify(self, signing_input: bytes, signature: bytes) -> None:
        """Returns where the signature fits; raises ``InvalidSignature`` otherwise."""
        if not ALGORITHMS[self.algorithm].verify(signing_input, self.material, signature):
            raise InvalidSignature(self.algorithm)


@runtime_checkable
class KeySource(Protocol):
    """Where an issuer's verification keys come from.

    Write ``keys_for``; an empty answer means that there is no such key, ``BackendUnavailable`` that nobody can tell::

        class VaultKeys:
            async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
                keys = await load()  # VerificationKey("ES256", kid, public_key), ...
                return [key for key in keys if key.algorithm == algorithm and kid in (None, key.kid)]

    A source may also have ``held(*, kid, algorithm)``, not async: the same answer if it is in memory, None if it must
    be waited for. It is called first, without a deadline, whose timer would cost more than the answer.
    """

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys that may have signed such a token: those of this ``kid``, or all where the token names none."""
        ...


class HeldKeys(Protocol):
    """The optional method ``held`` of a key source."""

    def __call__(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None: ...


@runtime_checkable
class RefetchableKeys(KeySource, Protocol):
    """A source of keys that a key server may replace at any time, even under the same ``kid``."""

    async def refetch(
        self, tried: Sequence[VerificationKey], *, kid: str | None, algorithm: str
    ) -> Sequence[VerificationKey] | None:
        """What ``keys_for`` answers now; None if that is what was ``tried`` already, in vain."""
        ...

    def algorithms_of(self, kid: str | None) -> Sequence[str]:
        """The algorithms that the key of this id is held for, those of all where it is None. For the record."""
        ...


class KeyMaterial:
    """Keys that are given directly. They become a source when the issuer tells which algorithms it allows."""

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        """These keys, each bound to one of the algorithms; ``ConfigurationError`` where none fits."""
        raise NotImplementedError


class StaticKeys:
    """Keys in memory: a source that always has its answer at hand."""

    __slots__ = ("_all", "_by_kid", "_without_kid")

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._all: dict[str, list[VerificationKey]] = {}
        self._without_kid: dict[str, list[VerificationKey]] = {}
        self._by_kid: dict[tuple[str, str], list[VerificationKey]] = {}
        for key in keys:
            self._all.setdefault(key.algorithm, []).append(key)
            if key.kid is None:
                self._without_kid.setdefault(key.algorithm, []).append(key)
            else:
                self._by_kid.setdefault((key.algorithm, key.kid), []).append(key)

    def named(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        """Those that were given under this very id, or all where it is None; None where there is none."""
        return self._all.get(algorithm) if kid is None else self._by_kid.get((algorithm, kid))

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The answer, without waiting."""
        if kid is None:
            return self._all.get(algorithm, ())
        # A key that bears no id may have signed a token that names one.
        named = self._by_kid.get((algorithm, kid))
        return self._without_kid.get(algorithm, ()) if named is None else named

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The same answer."""
        return self.held(kid=kid, algorithm=algorithm)


def as_source(keys: KeySource | KeyMaterial | Sequence[KeyMaterial], algorithms: frozenset[str]) -> KeySource:
    """The source that the argument ``keys`` means."""
    if isinstance(keys, KeySource) and not isinstance(keys, type):
        return keys
    given = (keys,) if isinstance(keys, KeyMaterial) else keys
    if not isinstance(given, tuple | list) or not given or not all(isinstance(one, KeyMaterial) for one in given):
        raise ConfigurationError(
            "keys",
            "give PEM(...), JWK(...), JWKSet(...), Secret(...), a list of them, RemoteJWKS(url), or a KeySource;"
            " JWKS stands alone",
        )
    return StaticKeys(key for one in given for key in one.bind(algorithms))
