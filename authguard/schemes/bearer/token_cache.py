"""Tokens whose signatures were verified: a repeated token is neither parsed nor verified again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from authguard.caching import BoundedCache
from authguard.keys.source import VerificationKey
from authguard.model import NO_FACTS, Accepted, Principal
from authguard.schemes.bearer.issuer_registry import IssuerRegistry, RegisteredIssuer
from authguard.wire import jws

#: How many bytes the tokens of one cache may take together.
MAX_BYTES = 16 * 1024 * 1024
#: How many bytes an entry takes beside the payload of its token: its objects, and for each role and scope.
ENTRY_BYTES, NAME_BYTES = 1024, 100


class VerifiedToken:
    """A token that was accepted, and what must still hold for it.

    Its times are kept without the leeway: a token that holds only by the leeway is judged each time. ``claims`` are the
    bytes of its payload, from which each request that reads the claims gets its own.
    """

    __slots__ = ("accepted", "algorithm", "begins", "expires", "iat", "keys", "kid", "registered", "registry", "size")

    def __init__(
        self,
        registry: IssuerRegistry,
        registered: RegisteredIssuer,
        token: jws.Jws,
        keys: Sequence[VerificationKey],
        principal: Principal,
    ) -> None:
        claims: dict[str, Any] = token.claims
        payload = token.signing_input.partition(b".")[2]
        names = len(principal.roles) + len(principal.scopes)
        self.registry = registry
        self.registered = registered
        self.kid, self.algorithm = token.header.kid, token.header.alg
        self.keys = keys
        self.iat = claims.get("iat")
        self.begins: float = max(claims.get("nbf", -math.inf), claims.get("iat", -math.inf))
        self.expires: float = claims.get("exp", math.inf)
        self.size = len(payload) + ENTRY_BYTES + names * NAME_BYTES
        self.accepted = Accepted(principal.with_claims_from(partial(jws.read_payload, payload)), (), NO_FACTS)

    def holds(self, registry: IssuerRegistry, now: float) -> bool:
        """Whether it is still accepted: its time, its issuer, and the very keys that it was verified with."""
        if not self.begins <= now < self.expires or registry is not self.registry:
            return False
        held = self.registered.issuer.held
        return held is not None and held(kid=self.kid, algorithm=self.algorithm) is self.keys


def token_cache(most: int) -> BoundedCache[VerifiedToken]:
    """A cache of at most ``most`` tokens and ``MAX_BYTES``. Its keys are the SHA-256 of the tokens."""
    return BoundedCache(most, most_bytes=MAX_BYTES, size=lambda verified: verified.size)
