"""Tokens whose signatures were verified: a repeated token is neither parsed nor verified again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from sys import getsizeof
from typing import Any

from authguard.caching import BoundedCache
from authguard.keys.source import VerificationKey
from authguard.model import Accepted, Moment, Outcome
from authguard.schemes.bearer.issuer_registry import IssuerRegistry, RegisteredIssuer
from authguard.wire import jws

#: How many bytes the tokens of one cache may take together.
MAX_BYTES = 16 * 1024 * 1024
#: How many bytes an entry takes beside what its token says: its objects, and its place in the cache.
ENTRY_BYTES = 768
#: How many bytes a text takes beside its characters, of which each takes up to four.
TEXT_BYTES = 76


class VerifiedToken:
    """A token whose signature is valid, and what must still hold for it.

    ``accepted`` is the outcome from ``begins`` to ``expires``, in seconds since the epoch and without the leeway. At
    any other time, and if the token was not accepted, its claims are checked again. They are kept as the bytes of its
    payload, from which each request that reads the claims gets its own. ``size`` is about how many bytes all this
    takes, and rather more than less.
    """

    __slots__ = (
        "accepted",
        "algorithm",
        "begins",
        "expires",
        "iat",
        "keys",
        "kid",
        "payload",
        "position",
        "registered",
        "registry",
        "signing_key",
        "size",
    )

    def __init__(
        self,
        registry: IssuerRegistry,
        registered: RegisteredIssuer,
        token: jws.Jws,
        keys: Sequence[VerificationKey],
        signing_key: VerificationKey,
        outcome: Outcome | None,
    ) -> None:
        claims: dict[str, Any] = token.claims
        self.registry = registry
        self.registered = registered
        self.kid, self.algorithm = token.header.kid, token.header.alg
        self.keys, self.signing_key = keys, signing_key
        self.position = 0
        if keys[0] is not signing_key:
            self.position = next((position for position, key in enumerate(keys) if key is signing_key), len(keys))
        self.payload = token.payload
        self.accepted: Accepted | None = None
        # Facts tell of the leeway, and a function of the app may answer otherwise the next time.
        if isinstance(outcome, Accepted) and not outcome.facts and not registered.issuer.calls_functions:
            self.accepted = outcome
            self.iat = claims.get("iat")
            self.begins: float = max(claims.get("nbf", -math.inf), claims.get("iat", -math.inf))
            self.expires: float = claims.get("exp", math.inf)
        self.size = self._find_size()

    def _find_size(self) -> int:
        size = ENTRY_BYTES + len(self.payload)
        names: tuple[str, ...] = (self.kid or "",)
        if self.accepted is not None:
            principal = self.accepted.principal
            roles, scopes = principal.roles, principal.scopes
            names += (principal.subject, *roles, *scopes)
            size += getsizeof(roles) + getsizeof(scopes)
        text = "".join(names)  # to ask each name for its size would take longer than everything else here
        return size + len(names) * TEXT_BYTES + len(text) * (1 if text.isascii() else 4)

    def is_still_signed(self, registry: IssuerRegistry) -> bool:
        """Whether its issuer is still accepted, and holds the very keys that the token was verified with.

        A source of the app may have changed its list of keys, and not made another.
        """
        held, keys, position = self.registered.issuer.held, self.keys, self.position
        return (
            registry is self.registry
            and held is not None
            and held(kid=self.kid, algorithm=self.algorithm) is keys
            and position < len(keys)
            and keys[position] is self.signing_key
        )

    def accepted_at(self, moment: Moment) -> Accepted | None:
        """The outcome at this time; None if its claims must be checked again."""
        accepted = self.accepted
        return accepted if accepted is not None and moment.between(self.begins, self.expires) else None


def token_cache(most: int) -> BoundedCache[VerifiedToken]:
    """A cache of at most ``most`` tokens and ``MAX_BYTES``. Its keys are the SHA-256 of the tokens."""
    return BoundedCache(most, most_bytes=MAX_BYTES, size=attrgetter("size"))
