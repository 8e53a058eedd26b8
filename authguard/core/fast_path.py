"""The lean path: decide at once whatever needs no waiting.

``FastPath.decide`` reads from top to bottom: select the credentials, ask which site made the request, ask the scheme,
ask the requirement. It awaits nothing, and makes no coroutine and no timer, which together cost more than all the rest
of a plain request.

What must wait is ``Undecided``: a store, a key server, a hash, the checks of the app. The guard goes on from there with
what has been learned, so that no token is verified twice, no attempt is counted twice, and no nonce is used twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from authguard.concurrency.deadline import optional_method
from authguard.core.authorization import ResolvedRequirement
from authguard.core.credential_selection import select_credentials
from authguard.core.csrf import Origins, is_cross_origin, origin_facts
from authguard.core.diagnosis import explained
from authguard.errors import BackendUnavailable, RequestBodyError, WrongAnswer
from authguard.model import (
    Accepted,
    Decision,
    Denied,
    Moment,
    Outcome,
    Principal,
    Rejected,
    keep_given_roles,
    keep_revocation_keys,
)
from authguard.policy.requirements import OPTIONAL
from authguard.reasons import (
    BACKEND_FAILED,
    CREDENTIALS_EXPIRED,
    CREDENTIALS_MALFORMED,
    CREDENTIALS_MISSING,
    ORIGIN_FOREIGN,
    SESSION_REVOKED,
    STORE_UNAVAILABLE,
)
from authguard.records.record import exception_facts
from authguard.request import AuthRequest
from authguard.schemes.carriers import AUTHORIZATION, PlainField
from authguard.schemes.scheme import AuthenticateNow, Continuation, Scheme, auth_scheme_of, group_by_carrier
from authguard.wire.authorization import Credentials, split_plain
from authguard.wire.grammar import WireError

if TYPE_CHECKING:
    from authguard.core.revocation import RevocationCheck


class Undecided:
    """A request for which something must be awaited: its scheme, or after that the revocations or the checks.

    - ``scheme``: the name of the scheme that was tried.
    - ``credentials``: those that the scheme was given; None for the principal of an outer guard or of a test.
    - ``answer``: what the scheme has said: ``Accepted`` before the checks, or a ``Continuation``. None if its
      ``authenticate`` must be awaited.
    - ``is_unrevoked``: whether the revocations were asked about what was accepted.
    """

    __slots__ = ("answer", "credentials", "is_unrevoked", "scheme")

    def __init__(
        self,
        scheme: str | None,
        credentials: Credentials | None = None,
        answer: Accepted | Continuation | None = None,
        *,
        is_unrevoked: bool = False,
    ) -> None:
        self.scheme = scheme
        self.credentials = credentials
        self.answer = answer
        self.is_unrevoked = is_unrevoked


class FastPath:
    """What the lean path of one guard needs to know, found out once.

    ``implied_roles``: the roles that each role brings with it. ``has_checks``: whether checks run after a success.
    ``revocations``: what is asked after a success, before the checks.
    """

    __slots__ = (
        "_auth_schemes",
        "_authenticate",
        "_carriers",
        "_forget",
        "_has_checks",
        "_has_more",
        "_implied_roles",
        "_is_simple",
        "_plain_field",
        "_revocations",
        "sent_by_browsers",
    )

    def __init__(
        self,
        schemes: Sequence[Scheme],
        *,
        implied_roles: Mapping[str, frozenset[str]],
        has_checks: bool,
        revocations: RevocationCheck | None = None,
    ) -> None:
        self._authenticate: dict[str | None, AuthenticateNow | None] = {
            scheme.name: optional_method(scheme, "authenticate_now", beside="authenticate") for scheme in schemes
        }
        #: What ends a session that was revoked, of those schemes that leave it to the guard to ask for that.
        self._forget: dict[str | None, Callable[[AuthRequest], None]] = {}
        stores = () if revocations is None else revocations.stores
        for scheme in schemes if stores else ():
            leave: Callable[..., AuthenticateNow | None] | None = getattr(scheme, "leave_revocations_to", None)
            if leave is not None and (unasked := leave(stores)) is not None:
                self._authenticate[scheme.name] = unasked
                self._forget[scheme.name] = cast("Any", scheme).forget
        self._carriers = group_by_carrier(schemes)
        #: Whether the ``Authorization`` field is the only place to look at.
        self._is_simple = all(carrier == AUTHORIZATION for carrier, _ in self._carriers)
        #: The field, if it is the only place, and is not ``Authorization``.
        self._plain_field: PlainField | None = (
            getattr(self._carriers[0][0], "plain_field", None) if len(self._carriers) == 1 else None
        )
        #: The auth-schemes by their usual spellings.
        self._auth_schemes = {
            spelling.encode("ascii"): word
            for word, scheme in ((auth_scheme_of(scheme), scheme) for scheme in schemes)
            for spelling in (word.capitalize(), word, word.upper(), getattr(scheme, "auth_scheme_spelled", word))
        }
        #: The names of the schemes whose credentials browsers send by themselves.
        self.sent_by_browsers = frozenset(
            scheme.name for scheme in schemes if scheme.sent_by_browsers or scheme.carrier.sent_by_browsers
        )
        self._implied_roles = implied_roles
        self._has_checks = has_checks
        self._revocations = revocations
        self._has_more = has_checks or revocations is not None

    def decide(
        self,
        request: AuthRequest,
        resolved: ResolvedRequirement,
        params: Mapping[str, str],
        origins: Origins,
        taken_over: Principal | Denied | None = None,
    ) -> Decision | Undecided:
        """The decision, or what must be awaited for it. ``params`` are the path parameters of the rule.

        ``taken_over``: the principal of an outer guard or of a test, for which no scheme is asked.
        """
        scheme: str | None = None
        try:
            selected = taken_over or self._select(request, resolved)
            if isinstance(selected, Denied):
                anonymous = resolved.requirement is OPTIONAL and selected.reason is CREDENTIALS_MISSING
                return resolved.anonymous if anonymous else selected
            scheme = selected.scheme if isinstance(selected, Principal) else resolved.by_auth_scheme[selected.scheme]
            if scheme in self.sent_by_browsers and is_cross_origin(request, origins):
                return resolved.deny(ORIGIN_FOREIGN, scheme, facts=origin_facts(request, origins))
            answer: Outcome | Continuation | None
            if isinstance(selected, Principal):
                answer = unless_expired(Accepted(selected), request.moment)
            else:
                authenticate = self._authenticate[scheme]
                if authenticate is None:
                    return Undecided(scheme, selected)
                try:
                    answer = authenticate(request, selected)
                except WireError as error:
                    answer = Rejected(CREDENTIALS_MALFORMED, facts={"problem": error.problem})
            if isinstance(answer, Rejected):
                return resolved.reject(explained(answer, selected), scheme)
            if not isinstance(answer, Accepted):
                return Undecided(scheme, cast("Credentials", selected), answer)
            if self._has_more:
                return self._go_on(answer, selected, scheme, resolved, params, request.moment)
            principal = self.own_principal(answer.principal, scheme)
            return resolved.authorize(principal, answer.response_headers, answer.facts, params, request.moment)
        except Exception as error:  # noqa: BLE001 - whatever fails, the request is denied
            return denial_of(error, resolved, scheme)

    def _go_on(
        self,
        accepted: Accepted,
        selected: Credentials | Principal,
        scheme: str | None,
        resolved: ResolvedRequirement,
        params: Mapping[str, str],
        moment: Moment,
    ) -> Decision | Undecided:
        """The decision of a guard with revocations or checks, after a scheme has accepted the credentials."""
        is_unrevoked = True
        if self._revocations is not None:
            # The scheme's principal is asked about, and not that of this request: it may be the same for many requests.
            asked = self._revocations.ask_now(accepted, scheme)
            if isinstance(asked, Rejected):
                return resolved.reject(asked, scheme)
            is_unrevoked = asked is not None
        principal = self.own_principal(accepted.principal, scheme)
        if is_unrevoked and not self._has_checks:
            return resolved.authorize(principal, accepted.response_headers, accepted.facts, params, moment)
        credentials = selected if isinstance(selected, Credentials) else None
        own = Accepted(principal, accepted.response_headers, accepted.facts)
        return Undecided(scheme, credentials, own, is_unrevoked=is_unrevoked)

    def _select(self, request: AuthRequest, resolved: ResolvedRequirement) -> Credentials | Denied:
        """The credentials to verify, or the denial if there is not exactly one set for an accepted scheme."""
        if self._is_simple:
            field: bytes | None = None
            for name, value in request.headers:
                if name == b"authorization":
                    if field is not None:
                        return select_credentials(request, self._carriers, resolved)
                    field = value
            if field is None:
                return resolved.nothing_presented
            credentials = split_plain(field, self._auth_schemes)
            if credentials is not None and credentials.scheme in resolved.by_auth_scheme:
                return credentials
        elif self._plain_field is not None:
            return self._select_plain(self._plain_field, request, resolved)
        return select_credentials(request, self._carriers, resolved)

    def _select_plain(
        self, plain: PlainField, request: AuthRequest, resolved: ResolvedRequirement
    ) -> Credentials | Denied:
        """The same, for a guard that looks at one field alone, and takes its whole value."""
        field: bytes | None = None
        for name, value in request.headers:
            if name == plain.name:
                if field is not None:
                    return select_credentials(request, self._carriers, resolved)
                field = value
        if field is None:
            return resolved.nothing_presented
        is_plain = field and len(field) <= plain.limit and field.strip(b" \t") == field
        if is_plain and plain.auth_scheme in resolved.by_auth_scheme:
            return Credentials(plain.auth_scheme, field)
        return select_credentials(request, self._carriers, resolved)

    def forget_session(self, rejected: Rejected, scheme: str | None, request: AuthRequest) -> None:
        """Empty a session that the guard has found revoked, if its scheme has not asked for that itself."""
        if rejected.reason is SESSION_REVOKED and (forget := self._forget.get(scheme)) is not None:
            forget(request)

    def own_principal(self, principal: Principal, scheme: str | None) -> Principal:
        """The principal of this request alone, with its scheme, and with the roles that its roles imply.

        A scheme, a check or a test may use one principal for many requests. None of them may change its claims for the
        others.
        """
        if not isinstance(principal, Principal):
            msg = "a scheme or a check accepted without a Principal"
            raise TypeError(msg)
        roles = principal.roles
        if self._implied_roles:
            roles = roles.union(*(self._implied_roles.get(name, ()) for name in roles))
        own = principal.seen_by(scheme, roles)
        if len(roles) != len(principal.roles):
            keep_given_roles(own, principal.roles)
        if self._revocations is not None:
            # A lock further in, or an inner guard, asks again. It need not read the claims for that.
            keep_revocation_keys(own, principal._revocation_keys)  # noqa: SLF001 - as the state does
        return own


def unless_expired(accepted: Accepted, moment: Moment) -> Outcome:
    """Rejected if the credentials have expired while the request waited, here or in an outer guard."""
    principal = accepted.principal
    if principal.expires_at is None or not moment.expired(principal.expires_at):
        return accepted
    facts = {"expired_by": moment.by(principal.expires_at), "leeway": moment.leeway, "while_waiting": True}
    headers = accepted.response_headers
    return Rejected(CREDENTIALS_EXPIRED, principal.subject, facts, headers, authenticated=True)


def denial_of(error: Exception, resolved: ResolvedRequirement, scheme: str | None) -> Denied:
    """The denial of a request for which something has raised: an outage, unless the request's body is at fault."""
    if isinstance(error, BackendUnavailable):
        # Without a detail, at least where it was raised.
        detail: dict[str, object] = {"detail": error.detail or None}
        if not error.detail:
            detail |= exception_facts(error)
        detail |= {"retry_after": error.retry_after, **error.facts}
        return resolved.deny(error.reason or STORE_UNAVAILABLE, scheme, facts=detail)
    if isinstance(error, RequestBodyError):
        return resolved.deny(error.reason, scheme, facts=error.facts)
    facts: dict[str, object] = exception_facts(error)
    if (problem := _problem_of(error, facts["frames"])) is not None:
        facts = {"problem": problem, **facts}
        if isinstance(error, WrongAnswer):
            del facts["frames"]  # they are those of the guard, and the problem names the function
    return resolved.deny(BACKEND_FAILED, scheme, facts=facts)


def _problem_of(error: Exception, frames: object) -> str | None:
    """What a function of the app did wrong, if that is known, with its name."""
    if isinstance(error, WrongAnswer):
        return error.problem
    # By name, because what decides knows no web framework.
    if isinstance(frames, tuple) and frames and any(kind.__name__ == "HTTPException" for kind in type(error).__mro__):
        location, _, name = str(frames[-1]).partition(" ")
        wanted = "return Rejected(reason), or None for no account"
        return f"{name} ({location}) raised {type(error).__name__}; {wanted}"
    return None
