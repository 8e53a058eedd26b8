from __future__ import annotations

import json
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from typing import Any, ClassVar

import joserfc.jwt
import jwt
import pytest
from abnf import ParseError, Rule
from abnf.grammars import rfc9110
from abnf.grammars.misc import load_grammar_rules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import OctKey

from authguard.wire.authorization import Credentials, auth_params, split, token68
from authguard.wire.basic import UserPass, usual_base64
from authguard.wire.challenge import Challenge
from authguard.wire.digest import DigestCredentials
from authguard.wire.grammar import WireError, quoted
from authguard.wire.jws import Jws, parse
from tests.wire.tokens import b64url, compact

TCHAR = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
URL64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

tokens = st.text(TCHAR, min_size=1, max_size=12)
schemes = tokens.map(str.lower)
whitespace = st.text(" \t", max_size=2)
printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
field_values = st.binary(max_size=20).map(
    lambda data: bytes(byte for byte in data if byte in {9, 32} or 32 < byte != 127)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | printable,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(printable, inner, max_size=3),
    max_leaves=12,
)
claims = st.dictionaries(printable, json_values, max_size=6)


# These tests must not fail on a slow machine.
no_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _distinct(pairs: list[tuple[str, Any]]) -> bool:
    return len({name.lower() for name, _ in pairs}) == len(pairs)


# --- round trips ------------------------------------------------------------------------------------------------------


@no_deadline
@given(schemes, field_values)
def test_credentials_survive_a_round_trip(scheme: str, rest: bytes) -> None:
    """``split`` is the reverse of ``Credentials.to_header``, for a rest without surrounding whitespace."""
    credentials = Credentials(scheme, rest.strip(b" \t"))

    assert split(credentials.to_header()) == credentials


@no_deadline
@given(st.lists(st.tuples(tokens, field_values), max_size=5).filter(_distinct), st.data())
def test_auth_params_survive_a_round_trip(pairs: list[tuple[str, bytes]], data: st.DataObject) -> None:
    """Names and values do not depend on the whitespace in a list, nor on which characters are escaped."""
    elements = []
    for name, value in pairs:
        before, after = data.draw(whitespace), data.draw(whitespace)
        escaped = data.draw(st.sets(st.sampled_from(range(256)))) | set(b'"\\')
        quoted = b"".join(b"\\" * (byte in escaped) + bytes([byte]) for byte in value)
        elements.append(f"{name}{before}={after}".encode() + b'"' + quoted + b'"')
    commas = st.lists(whitespace, min_size=1, max_size=3).map(lambda spaces: ",".join(["", *spaces, ""]))
    written = b"".join(element + data.draw(commas).encode() for element in elements)

    assert auth_params(written) == {name.lower(): value for name, value in pairs}


@no_deadline
@given(tokens, st.lists(st.tuples(tokens, printable), max_size=5).filter(_distinct), st.data())
def test_challenges_survive_a_round_trip_and_match_the_abnf(
    scheme: str, pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    """``from_header`` is the reverse of ``to_header``, and the RFC's own grammar accepts the line."""
    can_be_bare = [name for name, value in pairs if value and set(value) <= set(TCHAR)]
    challenge = Challenge(
        scheme, pairs, data.draw(st.sets(st.sampled_from(can_be_bare)) if can_be_bare else st.just({}))
    )

    line = challenge.to_header()

    assert Challenge.from_header(line) == challenge
    assert rfc9110.Rule("challenge").parse_all(line.decode("latin-1")).value == line.decode("latin-1")


@no_deadline
@given(printable, printable)
def test_user_and_password_survive_a_round_trip(username: str, password: str) -> None:
    """``from_token68`` is the reverse of ``to_token68``, apart from the normalisation to NFC."""
    username = username.replace(":", "")
    normal = UserPass(unicodedata.normalize("NFC", username), unicodedata.normalize("NFC", password))

    written = UserPass(username, password).to_token68()

    assert UserPass.from_token68(token68(written)) == normal


@no_deadline
@given(claims, st.binary(max_size=64), st.booleans(), st.sampled_from([None, 2]))
def test_tokens_survive_a_round_trip(
    payload: dict[str, Any], signature: bytes, ascii_only: bool, indent: int | None
) -> None:
    """Claims and signature are parsed as they were written, whatever the style of the issuer's JSON."""
    text = json.dumps(payload, ensure_ascii=ascii_only, indent=indent).encode()

    jws = parse(compact(payload=text, signature=signature), limit=1 << 20)

    assert (jws.claims, jws.signature) == (payload, signature)


@no_deadline
@given(claims.filter(lambda payload: not {"exp", "nbf", "iat", "iss", "sub", "aud", "jti"} & payload.keys()))
def test_tokens_of_other_libraries_are_parsed(payload: dict[str, Any]) -> None:
    """Tokens written by PyJWT and joserfc are parsed, including their headers."""
    secret = b"k" * 32
    header = {"alg": "HS256", "kid": "1", "typ": "JWT"}

    written = [
        jwt.encode(payload, secret, headers={"kid": "1"}),
        joserfc.jwt.encode(header, payload, OctKey.import_key(secret)),
    ]

    for token in written:
        jws = parse(token.encode(), limit=1 << 20)
        assert (jws.header.alg, jws.header.kid, jws.header.typ, jws.claims) == ("HS256", "1", "JWT", payload)


# --- malformed input raises WireError and nothing else ----------------------------------------------------------------


#: Digest credentials of RFC 2069, whose name is to be filled in.
DIGEST = b'username="%b", realm="r", nonce="n", uri="/", response="' + b"0" * 32 + b'"'


def read_old_digest(rest: bytes) -> DigestCredentials:
    """Read credentials under every option for old clients."""
    return DigestCredentials.from_auth_params(rest, rfc2069=True, loose_nc=True, latin1=True, literal_backslash=True)


PARSERS: dict[str, Callable[[bytes], object]] = {
    "split": split,
    "token68": token68,
    "auth_params": auth_params,
    "challenge": Challenge.from_header,
    "challenges": Challenge.parse_all,
    "basic": UserPass.from_token68,
    "basic, encoded": lambda data: UserPass.from_token68(b64encode(data)),
    "basic, ISO-8859-1": lambda data: UserPass.from_token68(b64encode(data), latin1=True),
    "basic, loose base64": lambda data: UserPass.from_token68(usual_base64(data)),
    "digest, old clients": lambda data: read_old_digest(DIGEST % b"a" + b", " + data),
    "digest, an old name": lambda data: read_old_digest(DIGEST % data),
    "jws": parse,
    "jws, header": lambda data: parse(compact(header=data)),
    "jws, payload": lambda data: parse(compact(payload=data)),
    "jws, value": lambda data: parse(compact(payload=b'{"a":' + data + b"}")),
}
pieces = st.sampled_from(
    [
        *r'" \ \u \ud800 \udc00 { } [ ] : , . = a alg RS256 e30 1e400 - NaN null 0 é'.encode().split(),
        *(b" ", b"\t", b"\n", b"\x00", b"\xff", b"9" * 99),
    ]
)
arbitrary_bytes = st.binary(max_size=60) | st.lists(pieces, max_size=30).map(b"".join)


@no_deadline
@given(
    st.lists(st.sampled_from(["qop", "nc", "cnonce", "algorithm", "opaque"]), unique=True),
    st.sampled_from([b"auth", b"00000001", b"00000000", b"1", b"MD5", b"SHA-256"]),
    printable,
)
def test_old_clients_change_nothing_that_is_read_without_them(names: list[str], text: bytes, username: str) -> None:
    """What is read under every option is what is read without, if that can be read."""
    rest = DIGEST % quoted(username.encode("utf-8")) + b"".join(b", %b=%b" % (name.encode(), text) for name in names)
    plain = rest if "qop" in names else rest + b", qop=auth, nc=00000001, cnonce=c" * (not {"nc", "cnonce"} & {*names})

    try:
        strict = DigestCredentials.from_auth_params(plain)
    except WireError:
        return
    assert read_old_digest(plain) == strict


@pytest.mark.parametrize("parser", PARSERS)
@settings(no_deadline, max_examples=300)
@given(st.data())
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(parser: str, data: st.DataObject) -> None:
    """The error has no cause, no context and no attributes that could hold input."""
    text = data.draw(arbitrary_bytes)
    caught: list[WireError] = []

    try:
        PARSERS[parser](text)
    except WireError as error:
        caught.append(error)

    assert [(error.__cause__, error.__context__) for error in caught] in ([], [(None, None)])
    assert [set(vars(error)) for error in caught] in ([], [{"problem", "scheme", "part", "position"}])


@load_grammar_rules([(name, rfc9110.Rule(name)) for name in ("auth-param", "OWS")])
class Recipient(Rule):
    """What a recipient must accept: RFC 9110 defines one form of a list for senders, and this one for recipients."""

    grammar: ClassVar[str | list[str]] = ['auth-params = [ auth-param ] *( OWS "," OWS [ auth-param ] )']


@pytest.mark.rfc("9110-5")
@settings(no_deadline, max_examples=500)
@given(st.lists(st.sampled_from(["a", "b", "=", '"', "\\", ",", " ", "\t", "é", "\x7f"]), max_size=12).map("".join))
def test_auth_params_are_those_of_rfc_9110(text: str) -> None:
    """The parser accepts exactly what the ABNF of section 5.6.1.2 accepts, except for names that are listed twice."""
    try:
        Recipient("auth-params").parse_all(text)
        expected = True
    except ParseError:
        expected = False

    try:
        auth_params(text.encode("latin-1"))
        accepted = True
    except WireError as error:
        accepted = error.problem == "duplicate auth-param"

    assert accepted == expected


# --- one spelling per token ------------------------------------------------------------------------------------------


def _parse_or_none(token: bytes) -> Jws | None:
    try:
        return parse(token)
    except WireError:
        return None


@no_deadline
@given(st.binary(max_size=8), st.data())
def test_no_change_of_one_character_leaves_a_token_the_same(signature: bytes, data: st.DataObject) -> None:
    """After replacing, inserting or deleting one byte, the token has other content or is refused."""
    token = compact(signature=signature)
    at = data.draw(st.integers(0, len(token) - 1))
    byte = data.draw(st.sampled_from([bytes([byte]) for byte in URL64 + b"+/=. \n\x00\xff"]))
    changed = data.draw(
        st.sampled_from(
            [token[:at] + byte + token[at + 1 :], token[:at] + byte + token[at:], token[:at] + token[at + 1 :]]
        )
    )

    before, after = _parse_or_none(token), _parse_or_none(changed)

    assert changed == token or before != after
    if after is not None and changed != token:
        head, payload, tail = changed.split(b".")
        assert [b64url(_decode(part)) for part in (head, payload, tail)] == [head, payload, tail]


def _decode(part: bytes) -> bytes:
    """Decode a part of a token, by parsing it as a signature, where any bytes are allowed."""
    return parse(compact(signature=b"") + part).signature


@no_deadline
@given(st.binary(max_size=12).map(b64url) | st.lists(st.sampled_from(URL64), max_size=12).map(bytes))
def test_decoded_base64url_is_encoded_to_the_same_text(part: bytes) -> None:
    """No two spellings of a part decode to the same bytes."""
    try:
        decoded = _decode(part)
    except WireError:
        return

    assert b64url(decoded) == part
