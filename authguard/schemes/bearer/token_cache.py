"""Tokens whose signatures were verified: a repeated token is neither parsed nor verified again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from authguard.caching import BoundedCache
from authguard.keys.source import VerificationKey
from authguard.model import Accepted, Outcome
from authguard.schemes.bearer.issuer_registry import IssuerRegistry, RegisteredIssuer
from authguard.wire import jws

#: How many bytes the tokens of one cache may take together.
MAX_BYTES = 16 * 1024 * 1024
#: How many bytes an entry takes beside the payload of its token: its objects, and for each role and scope.
ENTRY_BYTES, NAME_BYTES = 1024, 100


class VerifiedToken:
    """A token whose signature is valid, and what must still hold for it.

    ``accepted`` is the outcome from ``begins`` to ``expires``, in seconds since the epoch and without the leeway. At
    any other time, and if the token was not accepted, its claims are checked again. They are kept as the bytes of its
    payload, from which each request that reads the claims gets its own.
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
        "registered",
        "registry",
    )

    def __init__(
        self,
        registry: IssuerRegistry,
        registered: RegisteredIssuer,
        token: jws.Jws,
        keys: Sequence[VerificationKey],
        outcome: Outcome,
    ) -> None:
        claims: dict[str, Any] = token.claims
        self.registry = registry
        self.registered = registered
        self.kid, self.algorithm = token.header.kid, token.header.alg
        self.keys = keys
        self.payload = token.payload
        self.iat = claims.get("iat")
        self.accepted: Accepted | None = None
        # Facts tell of the leeway, and a check of the app may answer otherwise the next time.
        if isinstance(outcome, Accepted) and not outcome.facts and registered.issuer.check is None:
            self.accepted = outcome
            self.begins: float = max(claims.get("nbf", -math.inf), claims.get("iat", -math.inf))
            self.expires: float = claims.get("exp", math.inf)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        principal = None if self.accepted is None else self.accepted.principal
        names = 0 if principal is None else len(principal.roles) + len(principal.scopes)
        return len(self.payload) + ENTRY_BYTES + names * NAME_BYTES

    def is_still_signed(self, registry: IssuerRegistry) -> bool:
        """Whether its issuer is still accepted, and holds the very keys that the token was verified with."""
        held = self.registered.issuer.held
        return (
            registry is self.registry and held is not None and held(kid=self.kid, algorithm=self.algorithm) is self.keys
        )

    def accepted_at(self, now: float) -> Accepted | None:
        """The outcome at this time; None if its claims must be checked again."""
        accepted = self.accepted
        return accepted if accepted is not None and self.begins <= now < self.expires else None


def token_cache(most: int) -> BoundedCache[VerifiedToken]:
    """A cache of at most ``most`` tokens and ``MAX_BYTES``. Its keys are the SHA-256 of the tokens."""
    return BoundedCache(most, most_bytes=MAX_BYTES, size=lambda verified: verified.size)
