"""What becomes of a token whose claims are proven: by its signature, or by the server that issued it."""

from __future__ import annotations

import hashlib
from typing import Protocol, cast

from authguard.model import Accepted, Moment, Outcome, Principal, Rejected
from authguard.reasons import TOKEN_CLAIM_INVALID, TOKEN_CLAIM_MISSING
from authguard.schemes.claims import ClaimPath, ClaimRules, Claims, Fault, Source, collect, tolerated

#: The scheme that all this is for.
BEARER = "bearer"


class Judge(Protocol):
    """What its tokens must say, and where they say who it is and what they may do."""

    @property
    def rules(self) -> ClaimRules: ...
    @property
    def subject(self) -> ClaimPath: ...
    @property
    def roles(self) -> tuple[Source, ...]: ...
    @property
    def scopes(self) -> tuple[Source, ...]: ...


def judged(octets: bytes, claims: Claims, judge: Judge, moment: Moment) -> Outcome:
    """The outcome for a token that truly has these claims."""
    fault = judge.rules.fault(claims, moment)
    subject = judge.subject.of(claims)
    if fault is not None:
        return Rejected(fault.reason, text(subject), {**fault.facts, "token": named(octets)}, proven=True)
    if not isinstance(subject, str) or not subject:
        nameless = _nameless(subject, judge)
        return Rejected(nameless.reason, None, {**nameless.facts, "token": named(octets)})
    principal = Principal.checked(
        subject,
        collect(judge.roles, claims, split=False),
        collect(judge.scopes, claims, split=True),
        claims,
        cast("float | None", claims.get("exp")),  # what no stamp is was found at fault
        BEARER,
    )
    return Accepted(principal, (), tolerated(claims, moment))


def subject_fault(claims: Claims, judge: Judge) -> Fault | None:
    """What is wrong where the claims name nobody."""
    subject = judge.subject.of(claims)
    return None if isinstance(subject, str) and subject else _nameless(subject, judge)


def _nameless(subject: object, judge: Judge) -> Fault:
    reason = TOKEN_CLAIM_MISSING if subject is None else TOKEN_CLAIM_INVALID
    return Fault(reason, {"claim": ".".join(judge.subject.path)})


def named(octets: bytes) -> str:
    """The name of a token in a log: the first 8 hex digits of its SHA-256."""
    return hashlib.sha256(octets).hexdigest()[:8]


def text(value: object) -> str | None:
    """The value, where it is a string."""
    return value if isinstance(value, str) else None
