"""Several key sources of one issuer: each has the keys of some algorithms, and verifies with no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from authguard.concurrency.deadline import optional_method
from authguard.errors import ConfigurationError
from authguard.keys.fetch_budget import ANYBODY, Requester
from authguard.keys.source import (
    KeyMaterial,
    KeySource,
    PublishedKeys,
    RefetchableKeys,
    VerificationKey,
    as_source,
    check_algorithms,
    key_facts_of,
    takes_requester,
)


class KeysByAlgorithm:
    """A ``KeySource`` that asks the source of the token's algorithm. ``sources``: each source by its algorithms.

    So an issuer may sign with a secret and with a private key while it rotates from one to the other, and its public
    keys are never tried as secrets.
    """

    def __init__(self, sources: Mapping[frozenset[str], KeySource]) -> None:
        self.sources = tuple(sources.values())
        self._by_algorithm = {name: source for names, source in sources.items() for name in names}
        self._held = {
            name: optional_method(source, "held", beside="keys_for") for name, source in self._by_algorithm.items()
        }
        self._takes_requester = {
            (algorithm, name)
            for algorithm, source in self._by_algorithm.items()
            for name in ("keys_for", "refetch")
            if takes_requester(getattr(source, name, None))
        }
        #: Whether the keys of any source may be replaced.
        self.is_refetchable = any(isinstance(source, RefetchableKeys) for source in self.sources)

    def __repr__(self) -> str:
        return f"KeysByAlgorithm({', '.join(sorted(self._by_algorithm))})"

    def held(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey] | None:
        """The keys in memory; None if ``keys_for`` must be awaited."""
        held = self._held.get(algorithm)
        return None if held is None else held(kid=kid, algorithm=algorithm)

    async def keys_for(
        self, *, kid: str | None, algorithm: str, requester: Requester = ANYBODY
    ) -> Sequence[VerificationKey]:
        """The keys of the source of this algorithm."""
        source: Any = self._by_algorithm.get(algorithm)
        if source is None:
            return ()
        extra = self._requester_for(algorithm, "keys_for", requester)
        keys: Sequence[VerificationKey] = await source.keys_for(kid=kid, algorithm=algorithm, **extra)
        return keys

    async def refetch(
        self,
        tried: Sequence[VerificationKey],
        *,
        kid: str | None,
        algorithm: str,
        requester: Requester = ANYBODY,
    ) -> Sequence[VerificationKey] | None:
        """The keys that the source of this algorithm has now; None if they are those that were ``tried``."""
        source: Any = self._by_algorithm.get(algorithm)
        if not isinstance(source, RefetchableKeys):
            return None
        extra: Any = self._requester_for(algorithm, "refetch", requester)
        return await source.refetch(tried, kid=kid, algorithm=algorithm, **extra)

    def key_facts(self, algorithm: str) -> Mapping[str, object]:
        """For the record of a token that no key verifies: what its source says."""
        return key_facts_of(self._by_algorithm.get(algorithm), algorithm)

    def _requester_for(self, algorithm: str, method: str, requester: Requester) -> Mapping[str, Requester]:
        """The argument ``requester`` for a method of the source of this algorithm, if the method takes it."""
        return {"requester": requester} if (algorithm, method) in self._takes_requester else {}

    def algorithms_of(self, kid: str | None) -> Sequence[str]:
        """The algorithms of the keys with this ``kid``, of the sources that can tell."""
        sources = {id(source): source for source in self.sources}.values()  # a source may have no hash
        refetchable = [source for source in sources if isinstance(source, RefetchableKeys)]
        return [
            name
            for source in refetchable
            for name in source.algorithms_of(kid)
            if self._by_algorithm.get(name) is source
        ]


def keys_by_algorithm(
    algorithms: Sequence[str], keys: Mapping[Any, KeySource | KeyMaterial | Sequence[KeyMaterial]]
) -> tuple[frozenset[str], KeySource]:
    """The arguments ``algorithms`` and ``keys`` of an issuer, where ``keys`` is a mapping: ``{"HS256": Secret(...)}``.

    Raises ``ConfigurationError``, also if the two do not name the same algorithms.
    """
    for member, write in (("keys", "JWKSet(...)"), ("kty", "JWK(...)")):
        if member in keys:
            raise ConfigurationError("keys", f"this is a mapping with {member!r}; write keys={write}")
    sources: dict[frozenset[str], KeySource] = {}
    named: list[str] = []
    for group, value in keys.items():
        allowed = check_algorithms((group,) if isinstance(group, str) else group)
        named += allowed
        sources[allowed] = as_source(value, allowed)
        check_not_published(sources[allowed], allowed)
    wanted = frozenset(algorithms) if isinstance(algorithms, Iterable) and not isinstance(algorithms, str) else None
    if not named or wanted != frozenset(named) or len(named) > len(set(named)):
        raise ConfigurationError(
            "keys",
            f"its algorithms are {', '.join(sorted(named)) or 'none'}; name each of algorithms= once, such as "
            '{"HS256": Secret(...), ("ES256", "RS256"): RemoteJWKS(url)}',
        )
    return frozenset(named), KeysByAlgorithm(sources)


def check_not_published(source: KeySource, allowed: Iterable[str]) -> None:
    """Raise ``ConfigurationError`` for HMAC with keys of a key server, which must not know a secret."""
    if isinstance(source, PublishedKeys) and any(name.startswith("HS") for name in allowed):
        raise ConfigurationError("algorithms", "a key server publishes no HMAC secret; give keys=Secret(...)")
