"""Which of the credentials that a request presents are judged: those of one accepted scheme, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from authguard.model import Denied, Rejected
from authguard.reasons import (
    CREDENTIALS_AMBIGUOUS,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    SCHEME_UNSUPPORTED,
)
from authguard.request import AuthRequest
from authguard.schemes.base import Carrier
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError


def choose(
    request: AuthRequest, carriers: Iterable[Carrier], accepted: frozenset[str], refuse: Callable[..., Denied]
) -> Credentials | Denied:
    """The one set of credentials for an accepted scheme, or the denial where there is not just one.

    Two are ambiguous, wherever they travel (RFC 6750 section 2); ambient ones yield to explicit ones. A scheme that the
    route does not accept is never verified.
    """
    explicit: list[Credentials] = []
    ambient: list[Credentials] = []
    ambient_fault: Denied | None = None
    for carrier in carriers:
        found = _find(carrier, request, accepted, refuse)
        if not isinstance(found, Denied):
            (ambient if carrier.ambient else explicit).extend(found)
        elif carrier.ambient:
            ambient_fault = ambient_fault or found
        else:
            return found
    if len(explicit) == 1 and explicit[0].scheme in accepted:  # as nearly every request has it
        return explicit[0]
    usable = [credentials for credentials in explicit if credentials.scheme in accepted]
    if not usable:
        if ambient_fault is not None:
            return ambient_fault
        usable = [credentials for credentials in ambient if credentials.scheme in accepted]
    if len(usable) == 1:
        return usable[0]
    if usable:
        return refuse(CREDENTIALS_AMBIGUOUS, facts={"presented": [credentials.scheme for credentials in usable]})
    if explicit:
        return refuse(SCHEME_UNSUPPORTED, facts={"presented": explicit[0].scheme})
    return refuse(CREDENTIALS_MISSING)


def _find(
    carrier: Carrier, request: AuthRequest, accepted: frozenset[str], refuse: Callable[..., Denied]
) -> Sequence[Credentials] | Denied:
    try:
        found = carrier.find(request)
    except WireError as error:
        if error.scheme is None or error.scheme in accepted:
            return refuse(CREDENTIALS_MALFORMED, error.scheme, facts={"problem": error.problem})
        return refuse(SCHEME_UNSUPPORTED, facts={"presented": error.scheme})
    return refuse(found.reason, facts=found.facts) if isinstance(found, Rejected) else found
