"""Why a request is refused: one constant a line, and all that a denial implies stands on that line.

No other module writes a status code or an error code. A scheme of your own brings its own ``Reason``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Status: TypeAlias = Literal[400, 401, 403, 413, 429, 503]
Challenged: TypeAlias = Literal["all", "tried", "none"]

_CODE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")
# RFC 6750 section 3: the characters of `error` and `error_description`.
_ERROR_TEXT = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")

#: What a client learns, by the status alone: a code for programs, the status' own phrase, a sentence for people.
_PUBLIC: dict[Status, tuple[str, str, str]] = {
    400: ("ambiguous_request", "Bad Request", "The request can be read in more than one way"),
    401: ("unauthenticated", "Unauthorized", "Not authenticated"),
    403: ("forbidden", "Forbidden", "Not allowed"),
    413: ("body_too_large", "Content Too Large", "The request body is too large"),
    429: ("too_many_attempts", "Too Many Requests", "Too many attempts"),
    503: ("unavailable", "Service Unavailable", "Authentication is not available at the moment"),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a request is refused.

    - ``code``: ``"token.expired"``. For logs, and public API: never renamed, never sent to a client.
    - ``status``: the HTTP status (RFC 9110 section 15).
    - ``error``: the error code of RFC 6750, 9470 or 9449 for the challenge of the scheme that was tried.
    - ``public``: a sentence for the client. Without one it gets the sentence of the status.
    - ``presented``: False where the client presented nothing at all; such denials are told at INFO.
    - ``ours``: True where the client's answer hides a fault of ours; such denials are told at ERROR, as outages are.

    Raises ``ValueError`` for a code without a dot, a status that no denial has, a text that RFC 6750 cannot carry.
    """

    code: str
    status: Status
    error: str | None = None
    public: str | None = None
    presented: bool = True
    ours: bool = False

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            msg = f"code: {self.code!r} is not of the form 'family.what', in lower case"
            raise ValueError(msg)
        if self.status not in get_args(Status):
            msg = f"status: {self.status!r} is none of {get_args(Status)}"
            raise ValueError(msg)
        for name, text in (("error", self.error), ("public", self.public)):
            if text is not None and not _ERROR_TEXT.fullmatch(text):
                msg = f"{name}: only printable ASCII without the quote and the backslash can be sent"
                raise ValueError(msg)

    @property
    def public_code(self) -> str:
        """What the client's program reads. It goes by the status alone."""
        return _PUBLIC[self.status][0]

    @property
    def detail(self) -> str:
        """What a person at the client reads."""
        return self.public or _PUBLIC[self.status][2]

    @property
    def title(self) -> str:
        """The status' own phrase (RFC 9457 section 3.1.3)."""
        return _PUBLIC[self.status][1]

    @property
    def challenge_error(self) -> str | None:
        """The error code for the challenge: a 403 without one of its own has that of RFC 6750 section 3.1."""
        return self.error or ("insufficient_scope" if self.status == 403 else None)

    @property
    def challenged(self) -> Challenged:
        """Whose challenges go out: of all accepted schemes, of the one that was tried, of none."""
        if self.status == 401 or (self.status == 400 and self.error):
            return "all"
        return "tried" if self.status == 403 else "none"

    @property
    def challenges_needed(self) -> bool:
        """Whether the answer must bear a challenge (RFC 9110 section 15.5.2)."""
        return self.status == 401

    @property
    def about_message(self) -> bool:
        """Whether the message as a whole is at fault, so that each challenge tells the error (RFC 9449 section 7.2)."""
        return self.status == 400

    @property
    def folded(self) -> bool:
        """Whether a flood of it is told folded: what a stranger can cause at will."""
        return self.status in {400, 401, 413, 429}

    @property
    def retried(self) -> bool:
        """Whether ``Retry-After`` goes out (RFC 9110 section 10.2.3, RFC 6585 section 4)."""
        return self.status in {429, 503}

    @property
    def outage(self) -> bool:
        """Whether the fault is ours: told at ERROR, and never a client's token's."""
        return self.status == 503


# What the client presented, before any scheme looked at it.
CREDENTIALS_MISSING = Reason("credentials.missing", 401, presented=False)
CREDENTIALS_MALFORMED = Reason("credentials.malformed", 401, "invalid_token")
CREDENTIALS_AMBIGUOUS = Reason("credentials.ambiguous", 400, "invalid_request")
CREDENTIALS_EXPIRED = Reason("credentials.expired", 401, "invalid_token")
HEADER_TOO_LONG = Reason("header.too_long", 400, "invalid_request")
SCHEME_UNSUPPORTED = Reason("scheme.unsupported", 401)
BODY_TOO_LARGE = Reason("body.too_large", 413)
BODY_INCOMPLETE = Reason("body.incomplete", 400)

# The path and the method.
PATH_AMBIGUOUS = Reason("path.ambiguous", 400)
METHOD_UNLISTED = Reason("method.unlisted", 403, "insufficient_scope")

# A token (RFC 6750 section 3.1: all of them are `invalid_token`).
TOKEN_MALFORMED = Reason("token.malformed", 401, "invalid_token")
TOKEN_TOO_LONG = Reason("token.too_long", 401, "invalid_token")
TOKEN_ALGORITHM_REFUSED = Reason("token.algorithm_refused", 401, "invalid_token")
TOKEN_CRITICAL_UNKNOWN = Reason("token.critical_unknown", 401, "invalid_token")
TOKEN_TYPE_REFUSED = Reason("token.type_refused", 401, "invalid_token")
TOKEN_SIGNATURE_INVALID = Reason("token.signature_invalid", 401, "invalid_token")
TOKEN_ISSUER_UNKNOWN = Reason("token.issuer_unknown", 401, "invalid_token")
TOKEN_AUDIENCE_MISMATCH = Reason("token.audience_mismatch", 401, "invalid_token")
TOKEN_CLAIM_MISSING = Reason("token.claim_missing", 401, "invalid_token")
TOKEN_CLAIM_INVALID = Reason("token.claim_invalid", 401, "invalid_token")
TOKEN_EXPIRED = Reason("token.expired", 401, "invalid_token", "The access token expired")
TOKEN_NOT_YET_VALID = Reason("token.not_yet_valid", 401, "invalid_token")
TOKEN_ISSUED_IN_FUTURE = Reason("token.issued_in_future", 401, "invalid_token")
TOKEN_BOUND = Reason("token.bound", 401, "invalid_token")
TOKEN_INACTIVE = Reason("token.inactive", 401, "invalid_token")
KEY_UNKNOWN = Reason("key.unknown", 401, "invalid_token")

# A name and a password. To the client all of them are one: same status, body, headers and time.
USER_UNKNOWN = Reason("user.unknown", 401)
PASSWORD_WRONG = Reason("password.wrong", 401)
PASSWORD_EMPTY = Reason("password.empty", 401)
PASSWORD_TOO_LONG = Reason("password.too_long", 401)
PASSWORD_HASH_UNREADABLE = Reason("password.hash_unreadable", 401, ours=True)
ACCOUNT_DISABLED = Reason("account.disabled", 401)
ATTEMPTS_EXCEEDED = Reason("attempts.exceeded", 429)

# A digest. Those of the nonce are told only where the response was right, so that a new nonce is all that is lacking.
RESPONSE_WRONG = Reason("response.wrong", 401)
REALM_FOREIGN = Reason("realm.foreign", 401)
OPAQUE_FOREIGN = Reason("opaque.foreign", 401)
ALGORITHM_UNOFFERED = Reason("algorithm.unoffered", 401)
QOP_UNOFFERED = Reason("qop.unoffered", 401)
URI_MISMATCH = Reason("uri.mismatch", 400, "invalid_request", "The digest is for another path or query")
NONCE_UNKNOWN = Reason("nonce.unknown", 401)
NONCE_STALE = Reason("nonce.stale", 401)
NONCE_NOT_YET = Reason("nonce.not_yet", 401)
NONCE_FORGOTTEN = Reason("nonce.forgotten", 401)
NONCE_REPLAYED = Reason("nonce.replayed", 401)
NONCE_OUTSIDE = Reason("nonce.outside", 401)

# Authenticated, and not allowed.
ROLE_MISSING = Reason("role.missing", 403, "insufficient_scope")
SCOPE_MISSING = Reason("scope.missing", 403, "insufficient_scope")
SCHEME_INSUFFICIENT = Reason("scheme.insufficient", 403, "insufficient_scope")
CHECK_REFUSED = Reason("check.refused", 403, "insufficient_scope")
ORIGIN_FOREIGN = Reason("origin.foreign", 403)
REQUIREMENT_UNMET = Reason("requirement.unmet", 403, "insufficient_scope")
STEP_UP_REQUIRED = Reason("step_up.required", 401, "insufficient_user_authentication")

# We cannot tell.
KEYS_UNAVAILABLE = Reason("keys.unavailable", 503)
KEYS_TIMEOUT = Reason("keys.timeout", 503)
INTROSPECTION_UNAVAILABLE = Reason("introspection.unavailable", 503)
INTROSPECTION_TIMEOUT = Reason("introspection.timeout", 503)
INTROSPECTION_BUSY = Reason("introspection.busy", 503)
STORE_UNAVAILABLE = Reason("store.unavailable", 503)
STORE_TIMEOUT = Reason("store.timeout", 503)
HASHING_BUSY = Reason("hashing.busy", 503)
BACKEND_FAILED = Reason("backend.failed", 503)
