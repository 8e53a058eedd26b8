"""The steps with bearer tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from examples.tour.step import Expected, IndependentRequests, Part, Request, Step

CHALLENGE = 'Bearer realm="orders"'
INVALID = f'{CHALLENGE}, error="invalid_token"'
EXPIRED = f'{INVALID}, error_description="The access token expired"'
FORBIDDEN = f'{CHALLENGE}, error="insufficient_scope"'
AMBIGUOUS = f'{CHALLENGE}, error="invalid_request"'


@dataclass(frozen=True, slots=True)
class BearerRequest(IndependentRequests):
    """A GET request with one ``Authorization`` header for each token. A token is a name, or a literal text."""

    target: str
    tokens: Sequence[str] = ()
    served_by: str = "quickstart"

    @property
    def curl(self) -> str:
        """The request as a shell command, with the address in ``$API`` and the tokens in variables."""
        tokens = [f"${token}" if token.isupper() else token for token in self.tokens]
        headers = "".join(f'-H "Authorization: Bearer {token}" ' for token in tokens)
        return f"curl -i {'--path-as-is ' if '..' in self.target else ''}{headers}$API{self.target}"

    def requests(self, tokens: Mapping[str, str]) -> Sequence[Request]:
        """The one request, with names replaced by their tokens."""
        headers = [("Authorization", f"Bearer {tokens.get(token, token)}") for token in self.tokens]
        return [Request("GET", self.target, headers)]


STEPS = (
    Step(
        "No credentials",
        BearerRequest("/orders"),
        Expected(401, CHALLENGE, "denied credentials.missing"),
        "No rule opens /orders, so it is closed. The challenge has no error code, because no token was wrong.",
    ),
    Step(
        "A valid token with the required role",
        BearerRequest("/admin/users", ["ALICE"]),
        Expected(200, None, "granted"),
        "Granted requests are recorded at DEBUG, the log level of the tour.",
    ),
    Step(
        "A valid token without the required role",
        BearerRequest("/admin/users", ["BOB"]),
        Expected(403, FORBIDDEN, "denied role.missing", "missing=[admin]"),
        "403 and not 401, because bob is authenticated and a new token would not help. The log names the missing role.",
    ),
    Step(
        "A token that expired 4 s ago, with LEEWAY=0",
        BearerRequest("/orders", ["EXPIRED"], served_by="quickstart, LEEWAY=0"),
        Expected(401, EXPIRED, "denied token.expired", "expired_by="),
        "The client learns only that the token expired. The log also says whose token it was, and how late it came.",
    ),
    Step(
        "The same token, with LEEWAY=60",
        BearerRequest("/orders", ["EXPIRED"]),
        Expected(200, None, "granted", "tolerated=exp:"),
        "No two clocks agree. A token that passes only because of the leeway is recorded as tolerated, which is the "
        "first sign of a drifting clock.",
    ),
    Step(
        "A token that becomes valid in an hour",
        BearerRequest("/orders", ["EARLY"]),
        Expected(401, INVALID, "denied token.not_yet_valid", "valid_in="),
        "From here on, the client learns only that the token is invalid. The log gives the exact reason each time.",
    ),
    Step(
        "A token for another API",
        BearerRequest("/orders", ["BILLING"]),
        Expected(401, INVALID, "denied token.audience_mismatch", "audience=[billing] wanted=[orders]"),
        "The signature is valid, but the token was issued for another API. The record shows both audiences, so the "
        "wrong setting is easy to find.",
    ),
    Step(
        "A token without a signature (alg: none)",
        BearerRequest("/admin/users", ["UNSIGNED"]),
        Expected(401, INVALID, "denied token.algorithm_refused", "algorithm=none wanted=[RS256]"),
        "The token claims to be alice's. The record marks the name with a question mark, because nothing proves it.",
    ),
    Step(
        "Key confusion: a token signed with HS256, using the public key as the secret",
        BearerRequest("/admin/users", ["CONFUSED"]),
        Expected(401, INVALID, "denied token.algorithm_refused", "algorithm=HS256 wanted=[RS256]"),
        "Anybody can get the public key. The app decides which algorithm a key is used with; the token cannot.",
    ),
    Step(
        "A token signed with an attacker's key",
        BearerRequest("/admin/users", ["FORGED"]),
        Expected(401, INVALID, "denied token.signature_invalid", "token="),
        "The record identifies the token by eight digits of its hash. They are enough to find it again, and useless to "
        "a thief.",
    ),
    Step(
        "A text that is not a token",
        BearerRequest("/orders", ["not-a-token"]),
        Expected(401, INVALID, "denied token.malformed", "problem="),
        "401, as for every invalid token. authguard does not guess what the client meant.",
    ),
    Step(
        "Two Authorization headers",
        BearerRequest("/orders", ["ALICE", "BOB"]),
        Expected(400, AMBIGUOUS, "denied credentials.ambiguous"),
        "Both tokens are valid, but a proxy in front may have checked the other one. authguard refuses a request that "
        "can be read in two ways.",
    ),
    Step(
        "A path that leaves the public part through ..",
        BearerRequest("/health/../admin/users"),
        Expected(400, None, "denied path.ambiguous"),
        "One program reads this as a path below /health, another as /admin/users. There is no challenge, because "
        "credentials would not help.",
    ),
    Step(
        "A path that enters the public part through an encoded ..",
        BearerRequest("/admin%2F..%2Fhealth"),
        Expected(400, None, "denied path.ambiguous"),
        "authguard checks the decoded path, because the router matches the decoded path too.",
    ),
    Step(
        "The public path, with an invalid token",
        BearerRequest("/health", ["not-a-token"]),
        Expected(200, None, None),
        "The rule for /health is PUBLIC. The token is not even read, so there is nothing to record.",
    ),
)

BEARER = Part("Bearer tokens: examples/quickstart.py", STEPS)
