"""What is wrong in the ``WWW-Authenticate`` field lines of a refusal, and who misreads them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import urlsplit

from authguard.probe.finding import Finding, fault, note, shown, warning
from authguard.value_types import value
from authguard.wire import challenge_list as mistakes
from authguard.wire.challenge_list import ChallengeList, Mistake, ReadChallenge, read_challenges

# https://www.iana.org/assignments/http-authschemes
_REGISTERED = frozenset(
    {
        *("basic", "bearer", "concealed", "digest", "dpop", "gnap", "hoba", "mutual", "negotiate", "oauth"),
        *("privatetoken", "scram-sha-1", "scram-sha-256", "vapid"),
    }
)

# What each mistake of the grammar breaks, and what to write. The section is of RFC 9110.
_GRAMMAR: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        mistakes.NO_TOKEN: ("11.6.1", 'Write a challenge there, such as Basic realm="orders".'),
        mistakes.NO_SPACE: ("11.3", "Write one space between the scheme and its first parameter."),
        mistakes.TAB: ("11.3", "Write one space in place of the tab."),
        mistakes.NO_SCHEME: ("11.3", "Begin the field with the scheme: Basic, Bearer or Digest."),
        mistakes.COMMA_AFTER_SCHEME: ("11.3", "Write a space in place of that comma."),
        mistakes.AFTER_TOKEN68: ("11.3", "Send the token68 or the parameters, not both."),
        mistakes.NOT_PARAMS: ("11.3", "Write parameters as name=value, with quotes round a value that has spaces."),
        mistakes.NO_VALUE: ("11.2", "Write a value after the equals sign, or leave the parameter out."),
        mistakes.UNCLOSED: ("5.6.4", "Close the quotes, and put a backslash before each quote inside them."),
        mistakes.CONTROL_CHARACTER: ("5.6.4", "Remove the character."),
        mistakes.NOT_A_TOKEN: ("11.2", 'Put the value into double quotes: realm="my realm".'),
        mistakes.NO_COMMA: ("11.2", "Put a comma between the parameters."),
        mistakes.AFTER_VALUE: ("5.6.4", "Put the whole value into double quotes, and a backslash before quotes in it."),
        mistakes.DUPLICATE: ("11.2", "Send each parameter once."),
        mistakes.TOO_MANY: ("5.6.1.2", "Send fewer challenges."),
        mistakes.EMPTY_ELEMENT: ("5.6.1.1", "Remove the comma that nothing stands beside."),
        mistakes.BAD_WHITESPACE: ("5.6.3", "Remove the blanks beside the equals sign."),
    }
)


@value
class Refusal:
    """All challenges of an answer, and how it came to them. ``status`` is that of the answer."""

    lines: Sequence[bytes]
    lists: Sequence[ChallengeList]
    status: int

    @property
    def challenges(self) -> list[ReadChallenge]:
        """Those of all field lines, in order."""
        return [challenge for one in self.lists for challenge in one.challenges]

    @property
    def schemes(self) -> list[str]:
        """The schemes in lower case, in order."""
        return [challenge.scheme.lower() for challenge in self.challenges]

    def of(self, scheme: str) -> list[ReadChallenge]:
        """The challenges of one scheme."""
        return [challenge for challenge in self.challenges if challenge.scheme.lower() == scheme]


def read_refusal(lines: Sequence[bytes], status: int = HTTPStatus.UNAUTHORIZED) -> Refusal:
    """Read the values of the ``WWW-Authenticate`` field lines of an answer. A folded line is read as one line."""
    return Refusal(lines, [read_challenges(_FOLD.sub(b" ", line)) for line in lines], status)


# https://www.rfc-editor.org/rfc/rfc9112.html#section-5.2: a line break before a blank.
_FOLD = re.compile(rb"[ \t]?\r?\n[ \t]")


def judge_challenges(refusal: Refusal) -> Iterator[Finding]:
    """All that is wrong in the field lines of an answer to a request without credentials."""
    for line, found in zip(refusal.lines, refusal.lists, strict=True):
        if b"\n" in line:
            yield fault(
                "challenge.folded",
                "WWW-Authenticate goes on in another line",
                "Some clients take the rest for another field, or refuse the whole answer",
                "RFC 9112 section 5.2",
                "Write the field in one line.",
            )
        unfolded = _FOLD.sub(b" ", line)
        for mistake in found.mistakes:
            yield _grammar(unfolded, mistake)
        yield from _joined(found)
    yield from _order(refusal)
    for challenge in refusal.challenges:
        yield from _realm(challenge)
        judge = _JUDGES.get(challenge.scheme.lower())
        if judge is not None:
            yield from judge(challenge)
        elif challenge.scheme.lower() not in _REGISTERED:
            yield _unregistered(challenge)


# --- the field --------------------------------------------------------------------------------------------------------


def _grammar(line: bytes, mistake: Mistake) -> Finding:
    section, fix = _GRAMMAR[mistake.problem]
    start = max(0, mistake.position - 12)
    around = shown(line[start : mistake.position + 12])
    why = (
        "Recipients have to accept it, but senders must not send it"
        if mistake.is_tolerated
        else "Each client reads this in a way of its own, or drops the whole field"
    )
    return fault(
        "challenge.grammar",
        f"WWW-Authenticate has {mistake.problem}, at byte {mistake.position}: {around}",
        why,
        f"RFC 9110 section {section}",
        fix,
    )


def _joined(found: ChallengeList) -> Iterator[Finding]:
    if len(found.challenges) > 1:
        names = " and ".join(challenge.scheme for challenge in found.challenges)
        hidden = any(one.scheme.lower() == "digest" for one in found.challenges[1:])
        clients = "Browsers read only the first of them" + (
            ", and httpx, aiohttp and urllib never see that Digest" if hidden else ""
        )
        yield warning(
            "challenge.joined",
            f"{shown(names)} stand in one field line",
            clients,
            "RFC 9110 section 11.6.1",
            "Send one field line for each challenge.",
        )


def _order(refusal: Refusal) -> Iterator[Finding]:
    firsts = [one.challenges[0].scheme.lower() for one in refusal.lists if one.challenges]
    if "digest" in firsts[1:] and firsts[0] != "digest":
        first = refusal.challenges[0].scheme
        yield warning(
            "challenge.order",
            f"{shown(first)} is the first field line, and Digest comes after it",
            "aiohttp and urllib read only the first line, so that they never log in by Digest",
            "RFC 9110 section 11.6.1",
            "Send the Digest challenge first.",
        )
    for scheme, count in Counter(refusal.schemes).items():
        if count > 1 and scheme != "digest":  # Digest offers one challenge for each algorithm
            yield warning(
                "challenge.repeated",
                f"{shown(scheme)} is offered {count} times",
                "A client takes one of them, and nobody can say which",
                "RFC 9110 section 11.6.1",
                "Send one challenge of this scheme.",
            )


def _realm(challenge: ReadChallenge) -> Iterator[Finding]:
    realm = challenge.get("realm")
    if realm is None:
        return
    if not realm.is_quoted:
        yield fault(
            "realm.unquoted",
            f"the realm of {shown(challenge.scheme)} has no quotes: {shown(realm.value)}",
            "A sender must write them, because old clients know no other form",
            "RFC 9110 section 11.5",
            f'Write realm="{shown(realm.value)}".',
        )
    try:
        realm.value.decode("utf-8")
    except UnicodeDecodeError:
        yield warning(
            "realm.encoding",
            f"the realm of {shown(challenge.scheme)} is not UTF-8: {shown(realm.value)}",
            "Each client shows other characters, and Digest hashes other bytes",
            "RFC 9110 section 5.5",
            "Write the realm in ASCII, or in UTF-8.",
        )


def _unregistered(challenge: ReadChallenge) -> Finding:
    return note(
        "scheme.unregistered",
        f"{shown(challenge.scheme)} is no registered scheme",
        "Only clients of this server know what to send",
        "RFC 9110 section 16.4.1",
        "Use Bearer for tokens and keys, or tell in the documentation of the API what this one means.",
    )


# --- Basic ------------------------------------------------------------------------------------------------------------


def _basic(challenge: ReadChallenge) -> Iterator[Finding]:
    if challenge.get("realm") is None:
        yield fault(
            "basic.realm",
            "Basic has no realm",
            "It is required, and urllib does not log in without it",
            "RFC 7617 section 2",
            'Send Basic realm="orders", charset="UTF-8".',
        )
    yield from _charset(challenge, "RFC 7617 section 2.1")
    if challenge.get("charset") is None:
        yield note(
            "basic.charset",
            "Basic says no charset",
            "Clients send a name or password outside ASCII in UTF-8 or in ISO-8859-1, as they like",
            "RFC 7617 section 2.1",
            'Add charset="UTF-8".',
        )


def _charset(challenge: ReadChallenge, section: str) -> Iterator[Finding]:
    charset = challenge.get("charset")
    if charset is not None and charset.value.upper() != b"UTF-8":
        yield fault(
            f"{challenge.scheme.lower()}.charset",
            f"the charset of {challenge.scheme} is {shown(charset.value)}",
            "The only value that there is is UTF-8",
            section,
            'Write charset="UTF-8".',
        )


# --- Digest -----------------------------------------------------------------------------------------------------------

# RFC 7616 section 3.3: these must be quoted-strings, and those must not.
_DIGEST_QUOTED = ("realm", "domain", "nonce", "opaque", "qop")
_DIGEST_BARE = ("stale", "algorithm")
_ALGORITHMS = frozenset({"MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS", "SHA-512-256", "SHA-512-256-SESS"})


def _digest(challenge: ReadChallenge) -> Iterator[Finding]:
    section = "RFC 7616 section 3.3"
    for name, why in (("realm", "It is hashed with the password"), ("nonce", "Nothing can be hashed without it")):
        param = challenge.get(name)
        if param is None or (name == "nonce" and not param.value):
            yield fault(f"digest.{name}", f"Digest has no {name}", why, section, f'Send {name}="...".')
    for name in _DIGEST_QUOTED[1:]:
        param = challenge.get(name)
        if param is not None and not param.is_quoted:
            yield fault(
                "digest.quotes",
                f"{name} of Digest has no quotes",
                "A sender must write them, because old clients know no other form",
                section,
                f'Write {name}="{shown(param.value)}".',
            )
    for name in _DIGEST_BARE:
        param = challenge.get(name)
        if param is not None and param.is_quoted:
            yield fault(
                "digest.quotes",
                f"{name} of Digest is in quotes",
                "A sender must not write them, because old clients take them for a part of the value",
                section,
                f"Write {name}={shown(param.value)}.",
            )
    yield from _qop(challenge)
    yield from _algorithm(challenge)
    yield from _charset(challenge, section)
    stale = challenge.get("stale")
    if stale is not None and stale.value.lower() == b"true":
        yield warning(
            "digest.stale",
            "stale=true answers a request without credentials",
            "It tells a client that its password is right and only the nonce old, so a client may retry without end",
            section,
            "Send it only if the response of the client is right under an old nonce.",
        )


def _qop(challenge: ReadChallenge) -> Iterator[Finding]:
    section = "RFC 7616 section 3.3"
    qop = challenge.get("qop")
    if qop is None:
        yield fault(
            "digest.qop",
            "Digest has no qop",
            "A client then answers as of RFC 2069, without a count, and a captured answer can be sent again",
            section,
            'Add qop="auth".',
        )
        return
    options = [word.strip().lower() for word in qop.value.split(b",")]
    if b"auth" not in options:
        yield warning(
            "digest.qop",
            f"qop of Digest is {shown(qop.value)}, without auth",
            "Hardly a client knows anything else: httpx raises an error",
            section,
            'Write qop="auth", or qop="auth, auth-int".',
        )


def _algorithm(challenge: ReadChallenge) -> Iterator[Finding]:
    algorithm = challenge.get("algorithm")
    name = "MD5" if algorithm is None else algorithm.value.decode("latin-1").upper()
    if name not in _ALGORITHMS:
        yield fault(
            "digest.algorithm",
            f"the algorithm of Digest is {shown(name)}",
            "A client has to ignore a challenge whose algorithm it does not know",
            "RFC 7616 section 3.3",
            "Write algorithm=SHA-256, or MD5 for old clients.",
        )
    elif name.startswith("MD5"):
        yield note(
            "digest.md5",
            "Digest uses MD5" + ("" if algorithm is not None else ", because it names no algorithm"),
            "A captured answer can be searched for weak passwords fast; MD5 is there for old clients",
            "RFC 7616 section 3.2",
            "Offer algorithm=SHA-256 in a field line before it.",
        )


# --- Bearer -----------------------------------------------------------------------------------------------------------

# RFC 6750 section 3.1 and what other RFCs add: each error with the status that belongs to it.
_BEARER_ERRORS: Mapping[bytes, int] = MappingProxyType(
    {
        b"invalid_request": HTTPStatus.BAD_REQUEST,
        b"invalid_token": HTTPStatus.UNAUTHORIZED,
        b"insufficient_scope": HTTPStatus.FORBIDDEN,
        b"insufficient_user_authentication": HTTPStatus.UNAUTHORIZED,
        b"invalid_dpop_proof": HTTPStatus.UNAUTHORIZED,
        b"use_dpop_nonce": HTTPStatus.UNAUTHORIZED,
    }
)
# RFC 6750 section 3: what may stand in these values.
_TEXT = frozenset({0x20, 0x21, *range(0x23, 0x5C), *range(0x5D, 0x7F)})


def _bearer(challenge: ReadChallenge) -> Iterator[Finding]:
    yield from _bearer_params(challenge)
    if challenge.get("error") is not None:
        yield warning(
            "bearer.error_unasked",
            "Bearer has error= though no token was sent",
            "A client cannot tell a missing token from a bad one, and asks for another",
            "RFC 6750 section 3.1",
            "Leave error and its description out if no token was sent.",
        )


def _bearer_params(challenge: ReadChallenge) -> Iterator[Finding]:
    if not challenge.params:
        yield fault(
            "bearer.bare",
            "Bearer has no parameter",
            "At least one must follow it" + ("" if challenge.token68 is None else "; a token68 is none"),
            "RFC 6750 section 3",
            'Send Bearer realm="orders".',
        )
    for name in ("scope", "error", "error_description"):
        param = challenge.get(name)
        if param is not None and not _TEXT.issuperset(param.value):
            yield fault(
                "bearer.characters",
                f"{name} of Bearer has characters that it must not have: {shown(param.value)}",
                "Only printable ASCII without quotes and backslashes is allowed there",
                "RFC 6750 section 3",
                "Write it in ASCII, and put other words into the body.",
            )
    error = challenge.get("error")
    if error is not None and error.value not in _BEARER_ERRORS:
        yield warning(
            "bearer.error",
            f"error of Bearer is {shown(error.value)}",
            "No client knows what to do then",
            "RFC 6750 section 3.1",
            "Write invalid_request, invalid_token or insufficient_scope.",
        )
    metadata = challenge.get("resource_metadata")
    if metadata is not None and not _is_https(metadata.value):
        yield fault(
            "bearer.resource_metadata",
            f"resource_metadata is {shown(metadata.value)}",
            "Clients such as those of MCP fetch it to find where to log in, and it must be an https URL",
            "RFC 9728 section 5.1",
            'Write resource_metadata="https://api.example/.well-known/oauth-protected-resource".',
        )


def _is_https(data: bytes) -> bool:
    try:
        parts = urlsplit(data.decode("ascii"))
    except ValueError:  # a UnicodeDecodeError is one
        return False
    return parts.scheme == "https" and bool(parts.netloc) and not parts.fragment


def judge_nonces(first: Refusal, second: Refusal) -> Iterator[Finding]:
    """Whether two answers have one nonce of Digest."""
    nonces = [
        {param.value for one in refusal.of("digest") if (param := one.get("nonce"))} for refusal in (first, second)
    ]
    if nonces[0] & nonces[1] - {b""}:
        yield warning(
            "digest.same_nonce",
            "two requests get one nonce",
            "It is made anew for each 401; a captured answer is good for as long as the nonce",
            "RFC 7616 section 3.3",
            "Make a nonce for each answer, with the time in it.",
        )


def judge_refused_token(refusal: Refusal) -> Iterator[Finding]:
    """What is wrong in the answer to a token that nobody has issued, whose status is 400 or above."""
    bearers = refusal.of("bearer")
    for challenge in bearers:
        yield from _bearer_params(challenge)
    errors = [param.value for one in bearers if (param := one.get("error")) is not None]
    section = "RFC 6750 section 3.1"
    if refusal.status == HTTPStatus.UNAUTHORIZED and bearers and not errors:
        yield warning(
            "bearer.no_error",
            "a token that is no good is refused without error=",
            "A client cannot tell it from a request without a token, and does not get a new one",
            section,
            'Add error="invalid_token".',
        )
    for error in errors:
        wanted = _BEARER_ERRORS.get(error, refusal.status)
        if wanted != refusal.status:
            yield warning(
                "bearer.status",
                f"error={shown(error)} comes with status {refusal.status}",
                f"It belongs to {wanted}, and clients go by either",
                section,
                f"Answer with {wanted}.",
            )


_JUDGES: Mapping[str, Callable[[ReadChallenge], Iterator[Finding]]] = MappingProxyType(
    {"basic": _basic, "digest": _digest, "bearer": _bearer}
)
