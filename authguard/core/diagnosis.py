"""What a refused request shows about the cause, as facts for its record.

Three questions, each of them about a request that is refused already: what is wrong with credentials that cannot be
read, what stands where no scheme is, and where credentials seem to be if none were found. The answers are names and
numbers. No part of a value that a client sent is among them.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from operator import itemgetter

from authguard.model import Decision, Denied, Facts, Rejected
from authguard.reasons import CREDENTIALS_MALFORMED, CREDENTIALS_MISSING
from authguard.request import PROXY_FIELDS, AuthRequest, says_https
from authguard.wire.authorization import MAX_PARAMS, Credentials
from authguard.wire.grammar import CONTROL, ELEMENT, WireError

# The auth-schemes that a record may name: the registry of RFC 9110 section 16.4.1, and other common ones. Any other
# word may be a key or a password that was sent without a scheme before it, so it is not recorded.
_RECORDABLE = frozenset(
    {"apikey", "aws4-hmac-sha256", "basic", "bearer", "concealed", "digest", "dpop", "gnap", "hoba", "jwt", "mutual"}
    | {"negotiate", "ntlm", "oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "token", "vapid"}
)
_WORDS = "|".join(map(re.escape, sorted(_RECORDABLE))).encode()
# A comma, and after it the auth-scheme of other credentials. A proxy that joins field lines writes it so (RFC 9110
# section 5.3).
_JOINED = re.compile(rb",[ \t]*+(?=(?:%b)[ \t])" % _WORDS, re.IGNORECASE)
_JOSE = re.compile(rb"eyJ[A-Za-z0-9_-]*+\.", re.IGNORECASE)

#: What is recorded in place of a word that no record may name.
UNKNOWN_WORD = "a word that is no registered scheme"


def shown_scheme(scheme: str) -> str:
    """An auth-scheme as a record names it."""
    if scheme in _RECORDABLE:
        return scheme
    return "a JWT without Bearer before it" if _JOSE.match(scheme.encode()) else UNKNOWN_WORD


def explained(rejected: Rejected, presented: object) -> Rejected:
    """The same, with ``malformed_facts`` if it is of ``Credentials`` that cannot be read."""
    if rejected.reason is not CREDENTIALS_MALFORMED or not isinstance(presented, Credentials):
        return rejected
    try:
        facts = malformed_facts(presented, rejected.facts)
    except Exception:  # noqa: BLE001 - nothing that explains a refusal may change it
        return rejected
    return replace(rejected, facts=facts)


def malformed_facts(credentials: Credentials, facts: Facts) -> Facts:
    """The facts of credentials that cannot be read, with the mistake by name if it is a common one.

    ``joined``: how many credentials a proxy has joined into the field. ``all_equal``: whether all of them are the same.
    """
    word, rest = credentials.scheme.encode(), credentials.rest.strip(b" \t")
    if b"," in rest:
        first, *others = _JOINED.split(rest)
        if others:
            whole = (word, first.strip(b" \t")), *((name.lower(), value) for name, value in map(_split, others))
            return {**facts, "problem": JOINED, "joined": len(whole), "all_equal": len(set(whole)) == 1}
        # In a field of a proxy's own, tokens have no auth-scheme before them.
        tokens = [token.strip(b" \t") for token in rest.split(b",")]
        if all(map(_JOSE.match, tokens)):
            return {**facts, "problem": JOINED, "joined": len(tokens), "all_equal": len(set(tokens)) == 1}
    if rest.lower().startswith(word + b" "):
        return {**facts, "problem": "the auth-scheme is there twice"}
    if rest[:1] in {b'"', b"'"} and rest[:1] == rest[-1:]:
        return {**facts, "problem": "the credentials are in quotes"}
    if facts.get("problem") == "not a token68":
        return {**facts, "problem": f"not a token68: {_unexpected(rest)}"}
    look = _LOOKS.get(str(facts.get("problem")))
    found = None if look is None else look(rest)
    return facts if found is None else {**facts, "found": found}


def unsplit_facts(request: AuthRequest, error: WireError) -> Facts:
    """The facts of an ``Authorization`` field in which no auth-scheme with a space after it can be found.

    ``found``: the kind of character that stands where the auth-scheme begins, or where it ends.
    """
    facts = {"problem": error.problem}
    line = next(iter(request.lines(b"authorization")), b"").strip(b" \t")
    found = _MISPLACED.get(line[len(error.scheme or "") :][:1])
    return facts if found is None else {**facts, "found": f"{found} {'before' if error.scheme is None else 'after'} it"}


_MISPLACED: Mapping[bytes, str] = {
    b":": "a colon",
    b"=": "an equals sign",
    b",": "a comma",
    b"\t": "a tab",
    b'"': "a quote",
    b"<": "an angle bracket",
    b"{": "a brace",
    b"[": "a bracket",
}

JOINED = "several credentials in one field, joined on the way"


def _split(credentials: bytes) -> tuple[bytes, bytes]:
    word, _, rest = credentials.partition(b" ")
    return word, rest.strip(b" \t")


def _unexpected(rest: bytes) -> str:
    """The first kind of byte that a token68 must not have."""
    for byte, name in _NAMED.items():
        if byte in rest:
            return name
    return "a character that it must not have"


_NAMED: Mapping[bytes, str] = {
    b",": "a comma inside",
    b" ": "a space inside",
    b"\t": "a tab inside",
    b'"': "a quote inside",
    b"{": "a brace inside, of a template that was not filled in",
    b"<": "an angle bracket inside, of a template that was not filled in",
    b"=": "an equals sign that is not at its end",
}

# The parameters of Digest (RFC 7616 section 3.4), and those that other schemes send. Another name is not repeated.
_PARAMS = frozenset(
    {b"algorithm", b"charset", b"cnonce", b"nc", b"nonce", b"opaque", b"qop", b"realm", b"response", b"uri"}
    | {b"userhash", b"username", b"username*"}
)


def _twice(rest: bytes) -> str | None:
    """Which parameter is there twice."""
    names = Counter(match[1].lower() for match in _elements(rest) if match[1])
    return next((f"{name.decode()} twice" for name in names if names[name] > 1 and name in _PARAMS), None)


def _readable_part(rest: bytes) -> str | None:
    """After which parameter the list cannot be read any more."""
    names = [match[1].lower() for match in _elements(rest) if match[1]]
    if not names:
        return "nothing that is a parameter"
    return f"what follows {names[-1].decode()} is no parameter" if names[-1] in _PARAMS else None


def _elements(rest: bytes) -> Iterator[re.Match[bytes]]:
    """The elements of a list of parameters, up to the first one that cannot be read."""
    position = 0
    for _ in range(MAX_PARAMS):
        element = ELEMENT.match(rest, position)
        if element is None:
            return
        yield element
        if element[4] is None:
            return
        position = element.end()


def _control(rest: bytes) -> str | None:
    """Which control character a user-pass of Basic has, and where. Nothing else of it is shown."""
    from authguard.wire.basic import usual_base64  # noqa: PLC0415 - an app with tokens alone does not import it

    name, _, password = a2b_base64(usual_base64(rest)).decode("utf-8", "replace").partition(":")
    for text, place in ((name, "name"), (password, "password")):
        control = CONTROL.search(text)
        if control is not None:
            at_end = "at the end of" if control.end() == len(text) else "in"
            return f"U+{ord(control[0]):04X} {at_end} the {place}"
    return None


def _base64(rest: bytes) -> str | None:
    """How the base64 of another RFC is written."""
    if b"-" in rest or b"_" in rest:
        return "the alphabet for URLs"
    return "no padding" if len(rest) % 4 and not rest.endswith(b"=") else None


#: What is looked for, by what a scheme has said is wrong.
_LOOKS: Mapping[str, Callable[[bytes], str | None]] = {
    "duplicate auth-param": _twice,
    "not a list of auth-params": _readable_part,
    "a control character in the user-pass": _control,
    "not base64 as of RFC 4648 section 4": _base64,
}

# The parameters and the fields in which other APIs take credentials, by their names in lower case.
_QUERY = re.compile(
    rb"(?:\A|&)(access_token|api_key|api-key|apikey|auth|auth_token|authorization|bearer|id_token|jwt|key|password"
    rb"|secret|session_token|sig|signature|token)=[^&]",
    re.IGNORECASE,
)
_FIELDS = frozenset(
    {b"api-key", b"apikey", b"proxy-authorization", b"x-access-token", b"x-api-key", b"x-auth-token"}
    | {b"x-authorization", b"x-forwarded-authorization", b"x-original-authorization", b"x-token"}
    # Those of proxies that log users in: Cloudflare, Google, Amazon, Microsoft, oauth2-proxy, Pomerium, WSO2.
    | {b"cf-access-jwt-assertion", b"x-goog-iap-jwt-assertion", b"x-amzn-oidc-data", b"x-amzn-oidc-accesstoken"}
    | {b"x-ms-token-aad-access-token", b"x-forwarded-access-token", b"x-pomerium-jwt-assertion", b"x-jwt-assertion"}
)
# What a script offers as subprotocols of a WebSocket, because it cannot set ``Authorization``: "bearer, eyJ...".
_SUBPROTOCOLS = b"sec-websocket-protocol"
_OFFERED_TOKEN = re.compile(rb"(?:\A|,)[ \t]*+(?:bearer[ \t]*+,|eyJ)", re.IGNORECASE)
# A browser asks with this field what a script may send (https://fetch.spec.whatwg.org/#cors-preflight-request).
_PREFLIGHT = b"access-control-request-method"
_TELLING = _FIELDS | PROXY_FIELDS | {_SUBPROTOCOLS, _PREFLIGHT}
_NAME = itemgetter(0)
#: The longest part of a query that is searched, in bytes.
MAX_QUERY = 8192
_INSECURE = frozenset({"http", "ws"})


def explain_missing(request: AuthRequest, decision: Decision) -> Decision:
    """The same, with ``missing_facts`` if it denies a request because no credentials were found.

    It is called when a record is made: a request that is only counted does not pay for it.
    """
    scope = request.scope
    if not scope.get("query_string") and _TELLING.isdisjoint(map(_NAME, scope["headers"])):  # nearly always
        return decision
    if not isinstance(decision, Denied) or decision.reason is not CREDENTIALS_MISSING:
        return decision
    facts = missing_facts(request)
    return replace(decision, facts=facts) if facts else decision


def missing_facts(request: AuthRequest) -> Facts:
    """The facts of a request in which no credentials were found: where some seem to be all the same.

    ``found_in``: the query parameters and the header fields, by name. ``preflight``: that a browser asks about CORS,
    which it does without credentials. ``tls``: that a proxy says ``https``, and the server was not told so. Redirects
    of the app then lead to ``http:``, where clients leave ``Authorization`` out.
    """
    scope = request.scope
    query: bytes = scope.get("query_string") or b""
    found = [f"query {name}" for name in names_in_query(query)] if query else []
    is_https = is_preflight = False
    for name, value in request.headers:
        if (name in _FIELDS and value) or (name == _SUBPROTOCOLS and _OFFERED_TOKEN.search(value)):
            found.append(name.decode())
        elif name in PROXY_FIELDS and says_https(name, value):
            is_https = True
        elif name == _PREFLIGHT:
            is_preflight = request.method == "OPTIONS"
    facts: dict[str, object] = {"found_in": found} if found else {}
    if is_preflight:
        facts["preflight"] = True
    if is_https and scope.get("scheme") in _INSECURE:
        facts["tls"] = "the proxy says https, the server says http: redirects lose Authorization"
    return facts


def names_in_query(query: bytes) -> Iterable[str]:
    """The parameters of a query that seem to hold a credential, by name."""
    # Each name once, as this module writes it.
    return dict.fromkeys(match[1].decode().lower() for match in _QUERY.finditer(query[:MAX_QUERY]))
