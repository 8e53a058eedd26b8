"""Select the credentials to verify: those of exactly one scheme that the route accepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from authguard.core.authorization import ResolvedRequirement
from authguard.core.diagnosis import shown_scheme, unsplit_facts
from authguard.model import Denied, Rejected
from authguard.reasons import (
    BACKEND_FAILED,
    CREDENTIALS_AMBIGUOUS,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    SCHEME_UNSUPPORTED,
)
from authguard.request import AuthRequest
from authguard.schemes.scheme import Carrier, name_of_carrier
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError


def select_credentials(
    request: AuthRequest, carriers: Iterable[tuple[Carrier, frozenset[str]]], resolved: ResolvedRequirement
) -> Credentials | Denied:
    """The credentials to verify, or the denial if there is not exactly one set for an accepted scheme.

    Two sets are ambiguous, wherever they travel (RFC 6750 section 2). Credentials that a browser sends by itself yield
    to explicit ones. Credentials for a scheme that the route does not accept are never verified.
    """
    selected = _select(request, carriers, resolved)
    if resolved.conflict is None or (isinstance(selected, Denied) and selected.reason is CREDENTIALS_MISSING):
        return selected
    return resolved.deny(BACKEND_FAILED, facts={"problem": resolved.conflict})


def _select(
    request: AuthRequest, carriers: Iterable[tuple[Carrier, frozenset[str]]], resolved: ResolvedRequirement
) -> Credentials | Denied:
    explicit: list[Found] = []
    automatic: list[Found] = []
    automatic_denial: Denied | None = None
    for carrier, names in carriers:
        if carrier.sent_by_browsers and names.isdisjoint(resolved.accepted):
            continue  # a browser sends these with every request; this route does not use them
        result = _find(carrier, request, resolved)
        if not isinstance(result, Denied):
            found = automatic if carrier.sent_by_browsers else explicit
            found.extend((credentials, carrier, names) for credentials in result)
        elif not carrier.sent_by_browsers:
            return result
        elif result.reason is not SCHEME_UNSUPPORTED:
            automatic_denial = automatic_denial or result
    usable = _accepted(explicit, resolved)
    if not usable and automatic_denial is not None:
        return automatic_denial
    usable = usable or _accepted(automatic, resolved)
    if len(usable) == 1:
        return usable[0][0]
    if usable:
        facts = {
            "presented": [credentials.scheme for credentials, _, _ in usable],
            "carriers": [name_of_carrier(carrier) for _, carrier, _ in usable],
        }
        return resolved.deny(CREDENTIALS_AMBIGUOUS, facts=facts)
    if explicit:
        return _unsupported(explicit[0][0].scheme, resolved)
    return resolved.deny(CREDENTIALS_MISSING)


#: Credentials, the carrier that has found them, and the names of the schemes that have it.
Found: TypeAlias = tuple[Credentials, Carrier, frozenset[str]]


def _unsupported(scheme: str, resolved: ResolvedRequirement) -> Denied:
    facts = {"presented": shown_scheme(scheme), "wanted": sorted(resolved.by_auth_scheme)}
    return resolved.deny(SCHEME_UNSUPPORTED, facts=facts)


def _accepted(presented: Iterable[Found], resolved: ResolvedRequirement) -> list[Found]:
    """Those that a scheme of the route verifies, which also reads the place where they were found."""
    return [found for found in presented if resolved.by_auth_scheme.get(found[0].scheme) in found[2]]


def _find(carrier: Carrier, request: AuthRequest, resolved: ResolvedRequirement) -> Sequence[Credentials] | Denied:
    try:
        result = carrier.find(request)
    except WireError as error:
        if error.scheme is None or error.scheme in resolved.by_auth_scheme:
            scheme = None if error.scheme is None else resolved.by_auth_scheme[error.scheme]
            return resolved.deny(CREDENTIALS_MALFORMED, scheme, facts=unsplit_facts(request, error))
        return _unsupported(error.scheme, resolved)
    return resolved.deny(result.reason, facts=result.facts) if isinstance(result, Rejected) else result
