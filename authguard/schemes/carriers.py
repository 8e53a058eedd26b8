"""The carrier of the ``Authorization`` field, which most schemes share."""

from __future__ import annotations

from collections.abc import Sequence

from authguard.model import Rejected
from authguard.reasons import CREDENTIALS_AMBIGUOUS, HEADER_TOO_LONG
from authguard.request import AuthRequest
from authguard.schemes.scheme import Carrier
from authguard.value_types import frozen
from authguard.wire.authorization import MAX_FIELD, Credentials, split


@frozen
class AuthorizationField(Carrier):
    """The ``Authorization`` field (RFC 9110 section 11.6.2). A request has one at most, so two lines are ambiguous."""

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The credentials of the field line, if there is one. Raises ``WireError``."""
        lines = request.lines(b"authorization")
        if not lines:
            return ()
        if len(lines) > 1:
            return Rejected(CREDENTIALS_AMBIGUOUS, facts={"field_lines": len(lines)})
        if len(lines[0]) > MAX_FIELD:
            return Rejected(HEADER_TOO_LONG, facts={"octets": len(lines[0]), "limit": MAX_FIELD})
        return (split(lines[0]),)


#: The carrier of a scheme whose credentials travel in the ``Authorization`` field.
AUTHORIZATION = AuthorizationField()
