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
from authguard.schemes.scheme import Carrier
from authguard.wire.authorization import Credentials
from authguard.wire.grammar import WireError

# The registry of RFC 9110 section 16.4.1, and what else is common. Any other word there may be a key or a password that
# somebody sent without a scheme before it, and is not told.
_SCHEMES = frozenset({"apikey", "aws4-hmac-sha256", "basic", "bearer", "concealed", "digest", "dpop", "gnap", "hoba"})
_SCHEMES |= {"mutual", "negotiate", "ntlm", "oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "token", "vapid"}


def _told(scheme: str) -> str:
    return scheme if scheme in _SCHEMES else "a word that is no registered scheme"


def select_credentials(
    request: AuthRequest,
    carriers: Iterable[tuple[Carrier, frozenset[str]]],
    accepted: frozenset[str],
    refuse: Callable[..., Denied],
) -> Credentials | Denied:
    """The one set of credentials for an accepted scheme, or the denial where there is not just one.

    Two are ambiguous, wherever they travel (RFC 6750 section 2); ambient ones yield to explicit ones. A scheme that the
    route does not accept is never verified.
    """
    explicit: list[Credentials] = []
    sent_by_browsers: list[Credentials] = []
    ambient_fault: Denied | None = None
    for carrier, names in carriers:
        if carrier.sent_by_browsers and names.isdisjoint(accepted):
            continue  # what is sent along for others is nothing here
        found = _find(carrier, request, accepted, refuse)
        if not isinstance(found, Denied):
            (sent_by_browsers if carrier.sent_by_browsers else explicit).extend(found)
        elif not carrier.sent_by_browsers:
            return found
        elif found.reason is not SCHEME_UNSUPPORTED:
            ambient_fault = ambient_fault or found
    usable = _usable(explicit, accepted)
    if not usable and ambient_fault is not None:
        return ambient_fault
    usable = usable or _usable(sent_by_browsers, accepted)
    if len(usable) == 1:
        return usable[0]
    if usable:
        return refuse(CREDENTIALS_AMBIGUOUS, facts={"presented": [credentials.scheme for credentials in usable]})
    if explicit:
        return refuse(SCHEME_UNSUPPORTED, facts={"presented": _told(explicit[0].scheme)})
    return refuse(CREDENTIALS_MISSING)


def _usable(presented: Iterable[Credentials], accepted: frozenset[str]) -> list[Credentials]:
    return [credentials for credentials in presented if credentials.scheme in accepted]


def rejected_by(rejected: Rejected, scheme: str | None, refuse: Callable[..., Denied]) -> Denied:
    """The denial of what a scheme or a check rejected."""
    return refuse(
        rejected.reason,
        scheme,
        rejected.subject,
        rejected.authenticated,
        facts=rejected.facts,
        response_headers=rejected.response_headers,
    )


def _find(
    carrier: Carrier, request: AuthRequest, accepted: frozenset[str], refuse: Callable[..., Denied]
) -> Sequence[Credentials] | Denied:
    try:
        found = carrier.find(request)
    except WireError as error:
        if error.scheme is None or error.scheme in accepted:
            return refuse(CREDENTIALS_MALFORMED, error.scheme, facts={"problem": error.problem})
        return refuse(SCHEME_UNSUPPORTED, facts={"presented": _told(error.scheme)})
    return refuse(found.reason, facts=found.facts) if isinstance(found, Rejected) else found
