"""The reasons for refusing a request: one constant each, which decides everything that the response says.

No other module contains a status code or an error code. A custom scheme defines its own ``Reason``::

    SIGNATURE_OLD = Reason("webhook.signature_old", 401)
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

from authguard.value_types import frozen

Status: TypeAlias = Literal[303, 400, 401, 403, 413, 429, 503]
Challenged: TypeAlias = Literal["all", "tried", "none"]

#: The status of an outage: the server cannot decide, and the credentials may be valid.
OUTAGE: Status = 503

#: The status that sends a browser to the login page. RFC 9110 section 15.4.4.
SEE_OTHER: Status = 303

_CODE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")
# RFC 6750 section 3: the characters of `error` and `error_description`.
_ERROR_TEXT = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")

#: What the client is told, by status: a code for programs, the standard phrase of the status, a sentence for people.
_PUBLIC: dict[Status, tuple[str, str, str]] = {
    303: ("login_required", "See Other", "Log in first"),
    400: ("ambiguous_request", "Bad Request", "The request can be read in more than one way"),
    401: ("unauthenticated", "Unauthorized", "Not authenticated"),
    403: ("forbidden", "Forbidden", "Not allowed"),
    413: ("body_too_large", "Content Too Large", "The request body is too large"),
    429: ("too_many_attempts", "Too Many Requests", "Too many attempts"),
    503: ("unavailable", "Service Unavailable", "Authentication is not available at the moment"),
}


@frozen
class Reason:
    """Why a request is refused.

    - ``code``: such as ``"token.expired"``. It is for logs and never sent to a client. Codes are never renamed.
    - ``status``: the HTTP status (RFC 9110 section 15). 303 is for ``login.required`` alone, because only the guard
      knows where to send the browser.
    - ``error``: the error code in the challenge of the scheme that was tried (RFC 6750, 9470 or 9449).
    - ``public``: a sentence for the client. The default is the sentence of the status.
    - ``client_code``: the ``code`` in the response body, for programs. The default is that of the status.
    - ``presented``: False if the client sent no credentials. Such denials are logged at INFO.
    - ``ours``: True if the server is at fault and the response hides that. Such denials are logged at ERROR.
    - ``by_limit``: True if a limit, and not a failure, is why the server cannot decide. Such denials are logged at
      WARNING, because a client can cause them.

    Raises ``ValueError`` for a code without a dot, for any other status, and for a text that RFC 6750 does not allow.
    """

    code: str
    status: Status
    error: str | None = None
    public: str | None = None
    presented: bool = True
    ours: bool = False
    by_limit: bool = False
    client_code: str | None = None

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            msg = f"code: {self.code!r} must have the form 'family.name', in lower case"
            raise ValueError(msg)
        if self.status not in get_args(Status):
            msg = f"status: {self.status!r} must be one of {get_args(Status)}"
            raise ValueError(msg)
        if self.status == SEE_OTHER and self.code != "login.required":
            msg = "status: 303 is the answer of login_url= alone; raise a 401, and the guard sends browsers there"
            raise ValueError(msg)
        for name, text in (("error", self.error), ("public", self.public), ("client_code", self.client_code)):
            if text is not None and not _ERROR_TEXT.fullmatch(text):
                msg = f"{name}: {text!r} must be printable ASCII without quotes and backslashes, and not empty"
                raise ValueError(msg)

    @property
    def public_code(self) -> str:
        """The error code in the response body, for programs: that of the status, unless the reason has its own."""
        return self.client_code or _PUBLIC[self.status][0]

    @property
    def detail(self) -> str:
        """The sentence in the response body, for people."""
        return self.public or _PUBLIC[self.status][2]

    @property
    def title(self) -> str:
        """The standard phrase of the status (RFC 9457 section 3.1.3)."""
        return _PUBLIC[self.status][1]

    @property
    def challenge_error(self) -> str | None:
        """The error code for the challenge. The default for a 403 is ``insufficient_scope`` (RFC 6750 section 3.1)."""
        return self.error or ("insufficient_scope" if self.status == 403 else None)

    @property
    def challenged(self) -> Challenged:
        """Whose challenges are sent: those of all accepted schemes, of the scheme that was tried, or none."""
        if self.status == 401 or (self.status == 400 and self.error):
            return "all"
        return "tried" if self.status == 403 else "none"

    @property
    def challenges_needed(self) -> bool:
        """Whether the response must contain a challenge (RFC 9110 section 15.5.2)."""
        return self.status == 401

    @property
    def about_message(self) -> bool:
        """Whether the request itself is malformed, so that every challenge carries the error (RFC 9449 section 7.2)."""
        return self.status == 400

    @property
    def retried(self) -> bool:
        """Whether ``Retry-After`` is sent (RFC 9110 section 10.2.3, RFC 6585 section 4)."""
        return self.status in {429, 503}

    @property
    def outage(self) -> bool:
        """Whether the server cannot decide; the credentials may be valid. Logged at ERROR, unless ``by_limit``."""
        return self.status == OUTAGE


# The credentials, before a scheme has checked them.
CREDENTIALS_MISSING = Reason("credentials.missing", 401, presented=False)
CREDENTIALS_MALFORMED = Reason("credentials.malformed", 401, "invalid_token")
CREDENTIALS_AMBIGUOUS = Reason("credentials.ambiguous", 400, "invalid_request")
CREDENTIALS_EXPIRED = Reason(
    "credentials.expired", 401, "invalid_token", "The credentials expired", client_code="expired"
)
HEADER_TOO_LONG = Reason("header.too_long", 400, "invalid_request")
SCHEME_UNSUPPORTED = Reason("scheme.unsupported", 401)
BODY_TOO_LARGE = Reason("body.too_large", 413)
BODY_INCOMPLETE = Reason("body.incomplete", 400)

# The path and the method.
PATH_AMBIGUOUS = Reason("path.ambiguous", 400)
METHOD_UNLISTED = Reason("method.unlisted", 403, "insufficient_scope")

# Bearer tokens (RFC 6750 section 3.1: all of them are `invalid_token`).
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
TOKEN_EXPIRED = Reason("token.expired", 401, "invalid_token", "The access token expired", client_code="expired")
TOKEN_NOT_YET_VALID = Reason("token.not_yet_valid", 401, "invalid_token")
TOKEN_ISSUED_IN_FUTURE = Reason("token.issued_in_future", 401, "invalid_token")
TOKEN_BOUND = Reason("token.bound", 401, "invalid_token")
TOKEN_UNBOUND = Reason("token.unbound", 401, "invalid_token")
TOKEN_KEY_MISMATCH = Reason("token.key_mismatch", 401, "invalid_token")
CERTIFICATE_MISSING = Reason("certificate.missing", 401, "invalid_token")
CERTIFICATE_MISMATCH = Reason("certificate.mismatch", 401, "invalid_token")
CERTIFICATE_INVALID = Reason("certificate.invalid", 401, "invalid_token")
CERTIFICATE_SENDER_REFUSED = Reason("certificate.sender_refused", 401, "invalid_token")
TOKEN_CHECK_REFUSED = Reason("token.check_refused", 401, "invalid_token")
TOKEN_INACTIVE = Reason("token.inactive", 401, "invalid_token")
TOKEN_REVOKED = Reason("token.revoked", 401, "invalid_token")
KEY_UNKNOWN = Reason("key.unknown", 401, "invalid_token")

# The proofs of DPoP (RFC 9449 sections 7.1 and 9). With `use_dpop_nonce` the client tries again with a nonce.
PROOF_MISSING = Reason("proof.missing", 401, "invalid_dpop_proof")
PROOF_AMBIGUOUS = Reason("proof.ambiguous", 401, "invalid_dpop_proof")
PROOF_MALFORMED = Reason("proof.malformed", 401, "invalid_dpop_proof")
PROOF_TYPE_REFUSED = Reason("proof.type_refused", 401, "invalid_dpop_proof")
PROOF_ALGORITHM_REFUSED = Reason("proof.algorithm_refused", 401, "invalid_dpop_proof")
PROOF_KEY_REFUSED = Reason("proof.key_refused", 401, "invalid_dpop_proof")
PROOF_SIGNATURE_INVALID = Reason("proof.signature_invalid", 401, "invalid_dpop_proof")
PROOF_METHOD_MISMATCH = Reason("proof.method_mismatch", 401, "invalid_dpop_proof")
PROOF_URI_MISMATCH = Reason("proof.uri_mismatch", 401, "invalid_dpop_proof")
PROOF_EXPIRED = Reason("proof.expired", 401, "invalid_dpop_proof")
PROOF_NOT_YET_VALID = Reason("proof.not_yet_valid", 401, "invalid_dpop_proof")
PROOF_TOKEN_MISMATCH = Reason("proof.token_mismatch", 401, "invalid_dpop_proof")
PROOF_REPLAYED = Reason("proof.replayed", 401, "invalid_dpop_proof")
PROOF_NONCE_MISSING = Reason("proof.nonce_missing", 401, "use_dpop_nonce")
PROOF_NONCE_STALE = Reason("proof.nonce_stale", 401, "use_dpop_nonce")
PROOF_NONCE_UNKNOWN = Reason("proof.nonce_unknown", 401, "use_dpop_nonce")
PROOF_FORGOTTEN = Reason("proof.forgotten", 401, "use_dpop_nonce")

# Username and password. The client cannot tell the 401s apart: they have the same status, body, headers and timing.
USER_UNKNOWN = Reason("user.unknown", 401)
PASSWORD_WRONG = Reason("password.wrong", 401)
PASSWORD_EMPTY = Reason("password.empty", 401)
PASSWORD_TOO_LONG = Reason("password.too_long", 401)
PASSWORD_HASH_UNREADABLE = Reason("password.hash_unreadable", 401, ours=True)
ACCOUNT_DISABLED = Reason("account.disabled", 401)
SUBJECT_REVOKED = Reason("subject.revoked", 401, "invalid_token")
ATTEMPTS_EXCEEDED = Reason("attempts.exceeded", 429)

# API keys. `api_key.expired` implies that the secret was right. The client cannot tell the other ones apart.
API_KEY_MALFORMED = Reason("api_key.malformed", 401, "invalid_token")
API_KEY_UNKNOWN = Reason("api_key.unknown", 401, "invalid_token")
API_KEY_EXPIRED = Reason("api_key.expired", 401, "invalid_token", "The API key expired", client_code="expired")
API_KEY_REVOKED = Reason("api_key.revoked", 401, "invalid_token")
API_KEY_NETWORK_REFUSED = Reason("api_key.network_refused", 401, "invalid_token")
API_KEY_WRONG_ENVIRONMENT = Reason("api_key.wrong_environment", 401, "invalid_token")

# Digest. A reason about the nonce implies that the response was right, so that a new nonce is all the client needs.
RESPONSE_WRONG = Reason("response.wrong", 401)
REALM_FOREIGN = Reason("realm.foreign", 401)
OPAQUE_FOREIGN = Reason("opaque.foreign", 401)
ALGORITHM_UNOFFERED = Reason("algorithm.unoffered", 401)
QOP_UNOFFERED = Reason("qop.unoffered", 401)
URI_MISMATCH = Reason("uri.mismatch", 400, "invalid_request", "The digest is for another host, path or query")
NONCE_UNKNOWN = Reason("nonce.unknown", 401)
NONCE_STALE = Reason("nonce.stale", 401)
NONCE_NOT_YET = Reason("nonce.not_yet", 401)
NONCE_FORGOTTEN = Reason("nonce.forgotten", 401)
NONCE_REPLAYED = Reason("nonce.replayed", 401)
NONCE_OUTSIDE = Reason("nonce.outside", 401)

# Sessions. All but the first are about a session that the app itself has begun.
SESSION_MALFORMED = Reason("session.malformed", 401)
SESSION_NOT_YET = Reason("session.not_yet", 401)
SESSION_IDLE = Reason("session.idle", 401, public="The session has timed out", client_code="expired")
SESSION_EXPIRED = Reason("session.expired", 401, public="The session has timed out", client_code="expired")
SESSION_REVOKED = Reason("session.revoked", 401)
LOGIN_REQUIRED = Reason("login.required", 303, presented=False)

# Authenticated, but not allowed.
ROLE_MISSING = Reason("role.missing", 403, "insufficient_scope")
SCOPE_MISSING = Reason("scope.missing", 403, "insufficient_scope")
SCHEME_INSUFFICIENT = Reason("scheme.insufficient", 403, "insufficient_scope")
CHECK_REFUSED = Reason("check.refused", 403, "insufficient_scope")
CHECK_FAILED = Reason("check.failed", 403, "insufficient_scope", ours=True)
ORIGIN_FOREIGN = Reason("origin.foreign", 403)
REQUIREMENT_UNMET = Reason("requirement.unmet", 403, "insufficient_scope")
STEP_UP_REQUIRED = Reason("step_up.required", 401, "insufficient_user_authentication")

# The server cannot decide.
KEYS_UNAVAILABLE = Reason("keys.unavailable", 503)
KEYS_TIMEOUT = Reason("keys.timeout", 503)
KEYS_BUSY = Reason("keys.busy", 503, by_limit=True)
INTROSPECTION_UNAVAILABLE = Reason("introspection.unavailable", 503)
INTROSPECTION_TIMEOUT = Reason("introspection.timeout", 503)
INTROSPECTION_BUSY = Reason("introspection.busy", 503, by_limit=True)
STORE_UNAVAILABLE = Reason("store.unavailable", 503)
STORE_TIMEOUT = Reason("store.timeout", 503)
HASHING_BUSY = Reason("hashing.busy", 503, by_limit=True)
BACKEND_FAILED = Reason("backend.failed", 503)
