"""The signature of a token: which keys of its issuer are tried, and when they are fetched again."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import NamedTuple, TypeVar

from authguard.concurrency.deadline import ask
from authguard.errors import BackendUnavailable, InvalidSignature
from authguard.keys.source import VerificationKey
from authguard.model import Failure
from authguard.reasons import KEY_UNKNOWN, KEYS_TIMEOUT, KEYS_UNAVAILABLE, TOKEN_SIGNATURE_INVALID
from authguard.request import AuthRequest
from authguard.schemes.bearer.claim_mapping import subject_failure
from authguard.schemes.bearer.issuer import Issuer
from authguard.wire import jws

#: With how many keys a token is tried, and what the verifications may cost together, in units of one with an RSA key of
#: 2048 bits. That is enough for two keys of the slowest curve: before and after a rotation. The first key is always
#: tried.
MAX_CANDIDATES, MAX_COST = 8, 40

_Keys = TypeVar("_Keys", bound=Sequence[VerificationKey] | None)


class Candidates(NamedTuple):
    """The keys that a token is tried with, and how many more there are."""

    keys: Sequence[VerificationKey]
    untried: int


def choose_candidates(
    keys: Sequence[VerificationKey], algorithm: str, tried: Sequence[VerificationKey] = ()
) -> Candidates:
    """The keys to try, without those that were ``tried``. Anybody may send a token without ``kid``, so they are few."""
    if len(keys) == 1 and keys[0].algorithm == algorithm and not tried:
        return Candidates(keys, 0)
    chosen: list[VerificationKey] = []
    cost = 0
    for number, key in enumerate(keys):
        if key.algorithm != algorithm or key in tried:  # a source of the app may return more than it was asked for
            continue
        cost += key.cost
        if chosen and (len(chosen) == MAX_CANDIDATES or cost > MAX_COST):
            return Candidates(chosen, len(keys) - number)
        chosen.append(key)
    return Candidates(chosen, 0)


def is_signed_by_one_of(keys: Sequence[VerificationKey], token: jws.Jws) -> bool:
    """Whether one of the keys verifies the token (RFC 7515 section 5.2)."""
    for key in keys:
        try:
            key.verify(token.signing_input, token.signature)
        except InvalidSignature:
            continue
        return True
    return False


class SignatureVerifier:
    """Verifies the signatures of tokens with the keys of their issuers. ``deadline``: seconds for a key source."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    async def failure(self, issuer: Issuer, token: jws.Jws, request: AuthRequest) -> Failure | None:
        """Why the signature does not count; None if it does. Raises ``BackendUnavailable``."""
        kid, algorithm = token.header.kid, token.header.alg
        # A deadline costs a timer, which keys in memory do not need.
        keys = None if issuer.held is None else issuer.held(kid=kid, algorithm=algorithm)
        if keys is None:
            fetched = await self._await_keys(issuer.keys.keys_for(kid=kid, algorithm=algorithm), issuer, token, request)
            if isinstance(fetched, Failure):
                return fetched
            keys = fetched
        candidates = choose_candidates(keys, algorithm)
        if is_signed_by_one_of(candidates.keys, token):
            return None
        if keys and issuer.refetchable is not None:
            refetch = issuer.refetchable.refetch(keys, kid=kid, algorithm=algorithm)
            others = await self._await_keys(refetch, issuer, token, request)
            if isinstance(others, Failure):
                return others
            if others is not None:
                keys, candidates = others, choose_candidates(others, algorithm, candidates.keys)
                if is_signed_by_one_of(candidates.keys, token):
                    return None
        held = () if keys or issuer.refetchable is None else issuer.refetchable.algorithms_of(kid)
        return _unverified(token, has_keys=bool(keys), untried=candidates.untried, held=held)

    async def _await_keys(
        self, keys: Awaitable[_Keys], issuer: Issuer, token: jws.Jws, request: AuthRequest
    ) -> _Keys | Failure:
        """The keys; or, where they cannot be had, why the token would be refused with any key."""
        try:
            return await ask(keys, self._deadline, KEYS_TIMEOUT)
        except BackendUnavailable as error:
            # A retry with such a token would be useless, so the answer is not 503.
            failure = issuer.rules.failure(token.claims, request.moment) or subject_failure(token.claims, issuer)
            if failure is None:
                error.reason = error.reason or KEYS_UNAVAILABLE
                raise
        return Failure(failure.reason, {**failure.facts, "signature": "unchecked"})


def _unverified(token: jws.Jws, *, has_keys: bool, untried: int, held: Sequence[str]) -> Failure:
    facts: dict[str, object] = {"kid": token.header.kid, "algorithm": token.header.alg}
    if held:  # the key is known, but only for these algorithms
        facts["held"] = held
    if untried:
        facts["untried"] = untried
    return Failure(TOKEN_SIGNATURE_INVALID if has_keys else KEY_UNKNOWN, facts)
