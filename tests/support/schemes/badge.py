"""Small schemes whose outcome is looked up in a table, and a carrier that reads a field of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from authguard.model import Accepted, Denied, Outcome, Principal, Rejected
from authguard.reasons import TOKEN_EXPIRED, Reason
from authguard.request import AuthRequest
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.scheme import Carrier, Scheme, Service
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge

BADGE_WRONG = Reason("badge.wrong", 401, "invalid_token")
#: The outcome for each text that follows the name of the scheme.
OUTCOMES: Mapping[str, object] = {
    "alice": Accepted(Principal("alice", roles={"admin"}, scopes={"read"})),
    "bob": Accepted(Principal("bob")),
    "expired": Rejected(TOKEN_EXPIRED, "alice", {"expired_by": 4.2}, authenticated=True),
}


class Badge(Scheme):
    """A scheme that looks up its outcome in a table, by what follows its name, and keeps what was presented.

    An exception in the table is raised.
    """

    challenges_on_403 = True

    def __init__(
        self,
        name: str = "badge",
        table: Mapping[str, object] = OUTCOMES,
        *,
        carrier: Carrier = AUTHORIZATION,
        services: Sequence[Service] = (),
        reads_body: bool = False,
        reports_login_time: bool = False,
    ) -> None:
        self.name, self.carrier, self.services = name, carrier, services
        self.reads_body, self.reports_login_time = reads_body, reports_login_time
        self.table = table
        self.presented: list[str] = []

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        self.presented.append(credentials.rest.decode("latin-1"))
        outcome = self.table.get(self.presented[-1], Rejected(BADGE_WRONG))
        if isinstance(outcome, BaseException):
            raise outcome
        return cast("Outcome", outcome)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        error = {} if why is None or why.reason.error is None else {"error": why.reason.error}
        return (Challenge(self.name.title(), {"realm": "tests", **error}),)


class PlainBadge(Badge):
    """A ``Badge`` whose challenge names no error, like that of Basic: a 403 carries no challenge."""

    challenges_on_403 = False

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return (Challenge(self.name.title(), {"realm": "tests"}),)


@dataclass(frozen=True)
class FieldCarrier(Carrier):
    """Credentials in a field of their own, one for each field line, for one scheme."""

    scheme: str
    name: bytes
    sent_by_browsers: bool = False

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        return [Credentials(self.scheme, line) for line in request.lines(self.name)]


class InfoBadge(Badge):
    """A ``Badge`` that adds a response header for each principal that it accepts."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        outcome = await super().authenticate(request, credentials)
        if isinstance(outcome, Accepted):
            outcome = Accepted(outcome.principal, [(b"x-info", f"from {self.name}".encode())])
        return outcome
