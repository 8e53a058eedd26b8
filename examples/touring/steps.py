"""The steps with tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from examples.touring.telling import OneByOne, Part, Sent, Step, Told

BARE = 'Bearer realm="orders"'
INVALID = f'{BARE}, error="invalid_token"'
EXPIRED = f'{INVALID}, error_description="The access token expired"'
FORBIDDEN = f'{BARE}, error="insufficient_scope"'
AMBIGUOUS = f'{BARE}, error="invalid_request"'


@dataclass(frozen=True, slots=True)
class Get(OneByOne):
    """A request: its target as it is sent, and for each Authorization line the name of a token, or some text."""

    target: str
    presented: Sequence[str] = ()
    served_by: str = "quickstart"

    @property
    def curl(self) -> str:
        """The same request for a shell that has the address in ``$API`` and the tokens in variables."""
        tokens = [f"${text}" if text.isupper() else text for text in self.presented]
        fields = "".join(f'-H "Authorization: Bearer {token}" ' for token in tokens)
        return f"curl -i {'--path-as-is ' if '..' in self.target else ''}{fields}$API{self.target}"

    def sends(self, known: Mapping[str, str]) -> Sequence[Sent]:
        """The one request."""
        return [Sent("GET", self.target, [("Authorization", f"Bearer {known.get(t, t)}") for t in self.presented])]


STEPS = (
    Step(
        "Nothing presented",
        Get("/orders"),
        Told(401, BARE, "denied credentials.missing"),
        "No rule names /orders, so it is closed. The challenge has no error: nothing was wrong, only missing.",
    ),
    Step(
        "A good token, and the role that the rule asks for",
        Get("/admin/users", ["ALICE"]),
        Told(200, None, "granted"),
        "What is granted is recorded too, at DEBUG, which the tour has switched on.",
    ),
    Step(
        "A good token, and the role is missing",
        Get("/admin/users", ["BOB"]),
        Told(403, FORBIDDEN, "denied role.missing", "missing=[admin]"),
        "403 and not 401: bob is who he says, and a new token would not help him. The log names what he lacks.",
    ),
    Step(
        "A token that expired 4 s ago, where LEEWAY=0",
        Get("/orders", ["EXPIRED"], served_by="quickstart, LEEWAY=0"),
        Told(401, EXPIRED, "denied token.expired", "expired_by="),
        "The client learns that it expired, which it could know; the log tells whose it was, and by how much.",
    ),
    Step(
        "The same token, where LEEWAY=60",
        Get("/orders", ["EXPIRED"]),
        Told(200, None, "granted", "tolerated=exp:"),
        "No two clocks agree. What passes only by the leeway is told as tolerated: so a drifting clock first shows.",
    ),
    Step(
        "A token that begins in an hour",
        Get("/orders", ["EARLY"]),
        Told(401, INVALID, "denied token.not_yet_valid", "valid_in="),
        "From here on the client learns only that its token is no good. The log says why, each time in other words.",
    ),
    Step(
        "A token for another API",
        Get("/orders", ["BILLING"]),
        Told(401, INVALID, "denied token.audience_mismatch", "audience=[billing] wanted=[orders]"),
        "Rightly signed, and not meant for us. Both audiences stand in the record: that is what mends it.",
    ),
    Step(
        "A token without a signature: its alg is none",
        Get("/admin/users", ["UNSIGNED"]),
        Told(401, INVALID, "denied token.algorithm_refused", "algorithm=none wanted=[RS256]"),
        "It says that it is alice's. The record has a question mark there, for nobody proved it.",
    ),
    Step(
        "Key confusion: HS256, and the public key for a secret",
        Get("/admin/users", ["CONFUSED"]),
        Told(401, INVALID, "denied token.algorithm_refused", "algorithm=HS256 wanted=[RS256]"),
        "Everybody has the public key. A key is bound to its algorithm, and a token does not get to choose.",
    ),
    Step(
        "A token that somebody else signed",
        Get("/admin/users", ["FORGED"]),
        Told(401, INVALID, "denied token.signature_invalid", "token="),
        "The record names a token by eight digits of its hash: enough to find it again, nothing to steal.",
    ),
    Step(
        "Garbage for a token",
        Get("/orders", ["not-a-token"]),
        Told(401, INVALID, "denied token.malformed", "problem="),
        "401, as for every token that is no good, and no guess at what was meant.",
    ),
    Step(
        "Two Authorization lines",
        Get("/orders", ["ALICE", "BOB"]),
        Told(400, AMBIGUOUS, "denied credentials.ambiguous"),
        "Each token is good, but a proxy on the way may have judged the other one. What has two readings is refused.",
    ),
    Step(
        "A path that climbs out of the open corner",
        Get("/health/../admin/users"),
        Told(400, None, "denied path.ambiguous"),
        "One reader sees /health here, another /admin/users. No credentials would mend it, so none are asked for.",
    ),
    Step(
        "A path that climbs into it, encoded",
        Get("/admin%2F..%2Fhealth"),
        Told(400, None, "denied path.ambiguous"),
        "What is judged is what the router will read: the decoded path.",
    ),
    Step(
        "The open corner, with a bad token",
        Get("/health", ["not-a-token"]),
        Told(200, None, None),
        "A rule says PUBLIC: nothing is verified, so there is nothing to record.",
    ),
)

TOKENS = Part("Tokens: examples/quickstart.py", STEPS)
