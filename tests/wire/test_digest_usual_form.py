"""Credentials in the form that clients usually write are parsed in one match. The result is that of the full grammar.

The full grammar is read here by the parser that reads one parameter at a time, which knows no usual form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard.wire import digest
from authguard.wire.digest import DigestCredentials
from authguard.wire.grammar import AUTH_PARAM, CONTROL, OWS, QUOTED_PAIR, WireError
from authguard.wire.text import nfc
from tests.support.vectors import load_vectors
from tests.wire.test_linearity import backtracking_parts

# --- The parser of the full grammar -----------------------------------------------------------------------------------

_ELEMENT = re.compile(rb"(?:%b)?(?:%b(,)%b|\Z)" % (AUTH_PARAM.pattern, OWS.pattern, OWS.pattern))
_NC_VALUE = re.compile(rb"[0-9a-fA-F]{8}")
_EXT_VALUE = re.compile(rb"[uU][tT][fF]-8'[A-Za-z0-9-]*+'((?:%[0-9a-fA-F]{2}|[A-Za-z0-9!#$&+\-.^_`|~])++)")
_HEX_DIGEST = re.compile(rb"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?")
_REQUIRED = ("realm", "nonce", "uri", "response", "qop", "cnonce", "nc")
_NOT_UTF_8 = "the username is not UTF-8, or holds a control character"


def parse_params(data: bytes, limit: int = 32) -> dict[str, bytes]:
    """The parameters by name, each read by a match of its own."""
    params: dict[str, bytes] = {}
    position = 0
    for _ in range(limit):
        element = _ELEMENT.match(data, position)
        if element is None:
            raise WireError("not a list of auth-params")
        raw_name, token, text, comma = element.groups()
        if raw_name is not None:
            name = raw_name.decode("ascii").lower()
            if name in params:
                raise WireError("duplicate auth-param")
            params[name] = token if text is None else QUOTED_PAIR.sub(rb"\1", text)
        if comma is None:
            return params
        position = element.end()
    raise WireError("too many auth-params")


def username(params: Mapping[str, bytes], *, hashed: bool) -> str:
    """The name in any of its three forms."""
    plain, extended = params.get("username"), params.get("username*")
    if plain is not None and extended is not None:
        raise WireError("both username and username*")
    if hashed:
        if plain is None or _HEX_DIGEST.fullmatch(plain) is None:
            raise WireError("a hashed username is 32 or 64 hexadecimal digits")
        return plain.decode("ascii").lower()
    if extended is not None:
        match = _EXT_VALUE.fullmatch(extended)
        if match is None:
            raise WireError("username* is not in UTF-8 as of RFC 8187")
        plain = unquote_to_bytes(match[1])
    if not plain:
        raise WireError("no username")
    try:
        name = nfc(plain.decode("utf-8"))
    except UnicodeDecodeError:
        raise WireError(_NOT_UTF_8) from None
    if CONTROL.search(name):
        raise WireError(_NOT_UTF_8)
    return name


def parse_fully(rest: bytes) -> DigestCredentials:
    """The credentials, parameter by parameter."""
    params = parse_params(rest)
    for name in _REQUIRED:
        if not params.get(name):
            raise WireError(f"no {name}")
    if _NC_VALUE.fullmatch(params["nc"]) is None:
        raise WireError("nc is not eight hexadecimal digits")
    if _HEX_DIGEST.fullmatch(params["response"]) is None:
        raise WireError("response is not 32 or 64 hexadecimal digits")
    hashed = {b"true": True, b"false": False}.get(params.get("userhash", b"false").lower())
    if hashed is None:
        raise WireError("userhash is neither true nor false")
    credentials = DigestCredentials(
        username(params, hashed=hashed),
        params["realm"],
        params["nonce"],
        params["uri"],
        params["response"].lower(),
        params["qop"],
        params["cnonce"],
        params["nc"],
        params.get("algorithm", b"MD5").upper().decode("latin-1"),
        params.get("opaque"),
        hashed,
    )
    if credentials.count == 0:
        raise WireError("nc is zero")
    return credentials


# --- Fields -----------------------------------------------------------------------------------------------------------

DIGITS = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
NONCE = "AAYTXPk0kAABCAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsc"
#: The values that a client sends, as it writes them, in the order of Firefox.
SENT = {
    "username": '"alice"',
    "realm": '"orders"',
    "nonce": f'"{NONCE}"',
    "uri": '"/orders?a=b"',
    "algorithm": "SHA-256",
    "response": f'"{DIGITS}"',
    "opaque": '"0123456789abcdef"',
    "qop": "auth",
    "nc": "0000000a",
    "cnonce": '"0a4f113b"',
}


def field(*more: str, separator: str = ", ", **changes: str | None) -> bytes:
    """``SENT`` with the changes, then ``more``. None leaves a parameter out."""
    values = {**SENT, **changes}
    written = [f"{name}={value}" for name, value in values.items() if value is not None]
    return separator.join([*written, *more]).encode("latin-1")


VECTORS = [case["field"].encode() for source in load_vectors("digest.json")["sources"] for case in source["cases"]]
USUAL = [
    field(),
    field(separator=","),
    field(separator=",\t "),
    field(qop='"auth"', algorithm='"MD5"', response=f'"{DIGITS[:32]}"'),
    field(algorithm=None, opaque=None),
    field("userhash=true", username=f'"{DIGITS.upper()}"'),
    field("userhash=false", username='"J\u00c3\u00a4s\u00c3\u00b8n Doe"'),
    *(vector for vector in VECTORS if b'algorithm="' not in vector and b"username*" not in vector),
]


@pytest.mark.parametrize("usual", USUAL)
def test_what_clients_usually_write_is_parsed_in_one_match(usual: bytes) -> None:
    """The vectors of curl, Chromium and the RFCs are in the usual form, with any blanks after a comma."""
    assert DigestCredentials._from_usual_form(usual) == parse_fully(usual)


UNUSUAL: list[bytes] = [
    field(uri='"/a,b"'),
    field(username=r'"a\"li\\ce"'),
    field("stale=true"),
    field("username*=UTF-8''alice", username=None),
    field(realm=None) + b', Realm="orders"',
    field(response=f'"{DIGITS.upper()}"'),
    field(response=DIGITS),
    field(uri="x"),
    field(separator=" , "),
    field() + b",",
    b"," + field(),
    field(nc='"00000001"'),
    field("userhash=TRUE", username=f'"{DIGITS}"'),
]


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_every_other_form_of_the_grammar_is_accepted_too(unusual: bytes) -> None:
    """Escapes, commas in a value, upper case, other parameters and empty elements need the full grammar."""
    assert DigestCredentials._from_usual_form(unusual) is None
    assert DigestCredentials.from_auth_params(unusual) == parse_fully(unusual)


TWICE = [
    *(field(f"{name}={value}") for name, value in SENT.items()),
    field(f"nonce={SENT['nonce']}", opaque=None),
    field(f"opaque={SENT['opaque']}", algorithm=None),
    field(f"uri={SENT['uri']}", realm=None),
    field("qop=auth", "qop=auth", algorithm=None, opaque=None),
]


@pytest.mark.parametrize("params", TWICE)
def test_in_the_usual_form_a_parameter_may_not_be_listed_twice_either(params: bytes) -> None:
    """A pattern that is repeated keeps the last value of a parameter, so the parameters are counted."""
    with pytest.raises(WireError) as caught:
        DigestCredentials.from_auth_params(params)

    assert caught.value.problem == "duplicate auth-param"


@pytest.mark.parametrize("number", range(digest._LEAST, digest._MOST + 1))
def test_no_pattern_of_the_usual_form_can_backtrack(number: int) -> None:
    """They are compiled when they are first needed, so they are not among the constants of the module."""
    assert backtracking_parts(digest._usual_form(number)) == []


# --- The two parsers agree --------------------------------------------------------------------------------------------


def outcome_of(parse: Callable[[bytes], DigestCredentials]) -> Callable[[bytes], DigestCredentials | str]:
    """A function that returns the credentials, or the problem with which they are refused."""

    def outcome(data: bytes) -> DigestCredentials | str:
        try:
            return parse(data)
        except WireError as error:
            return error.problem

    return outcome


NAMES = [*SENT, "userhash", "username*", "stale", "Realm", "NONCE", "nonc", "", "a b"]
VALUES = [
    *SENT.values(),
    *['""', '"', "", "a=b", '"a', 'a"', '"a,b"', '"a, nc=00000001"', r'"a\"b"', '"\\"', '"auth-int"', '"auth'],
    *(f'"{digits}"' for digits in (DIGITS[:32], DIGITS[:31], DIGITS[:33], DIGITS[:63], f"{DIGITS}0", f"{DIGITS[1:]}g")),
    *["00000000", "0000000A", "1", '"00000001"', "true", "false", '"true"', "TRUE", "fals", DIGITS.upper()],
    *["UTF-8''J%C3%A4s", "UTF-8''%C3", '"\u00c3\u00a4"', '"\u00e4"', '"\u00c2\u0085"', "\u00e4"],
    *['"a\tb"', '"\x7f"', '"a\nb"', '"a' + "\u00cc\u0081" * 129 + '"'],
]


@pytest.mark.parametrize("name", NAMES)
def test_both_parsers_agree_on_every_value_of_a_parameter(name: str) -> None:
    """With each of these values in place of the usual one, and beside it."""
    others = ["userhash=true"] if name == "username" else []
    data = [field(**{name: value}) for value in VALUES] + [field(f"{name}={value}", *others) for value in VALUES]

    assert list(map(outcome_of(DigestCredentials.from_auth_params), data)) == list(map(outcome_of(parse_fully), data))


_NAMES = st.sampled_from([*SENT, *NAMES])
_VALUES = st.sampled_from([*SENT.values(), *VALUES]) | st.text(st.characters(max_codepoint=255), max_size=6).map(
    lambda text: f'"{text}"'
)
_SEPARATORS = st.sampled_from([", ", ", ", ", ", ", ", ",", ",\t ", " ,", ",,", "", ";", ", \n"])


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    """The parameters of a client in any order, with some left out, changed, added or listed twice."""
    params = draw(st.permutations(list(SENT.items())))[: draw(st.sampled_from([*range(7, 11), 10, 10, 10]))]
    for _ in range(draw(st.integers(0, 3))):
        params.insert(draw(st.integers(0, len(params))), (draw(_NAMES), draw(_VALUES)))
    if draw(st.booleans()):
        position = draw(st.integers(0, len(params) - 1))
        params[position] = (params[position][0], draw(_VALUES))
    text = "".join(f"{name}={value}{draw(_SEPARATORS)}" for name, value in params[:-1])
    text += "=".join(params[-1]) + draw(st.sampled_from(["", "", "", "", ",", ", ", " ", "\n"]))
    return text.encode("latin-1")


@st.composite
def damaged_fields(draw: st.DrawFn) -> bytes:
    """A valid field of which some bytes are removed, replaced or repeated."""
    data = bytearray(draw(st.sampled_from([*USUAL, *UNUSUAL])))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 60))
        insert = draw(st.binary(max_size=3) | st.sampled_from([b'"', b",", b", ", b"=", b"\\", bytes(data[start:end])]))
        data[start : draw(st.sampled_from([start, start + 1, end]))] = insert
    return bytes(data)


@settings(deadline=None, max_examples=1500)
@given(fields() | damaged_fields())
def test_both_parsers_agree_on_every_field(data: bytes) -> None:
    """They return the same credentials, or refuse the field with the same problem."""
    assert outcome_of(DigestCredentials.from_auth_params)(data) == outcome_of(parse_fully)(data)
