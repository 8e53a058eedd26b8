"""Whole ``WWW-Authenticate`` values: what is read, what is refused and where, and what other parsers read."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar
from urllib.request import parse_http_list, parse_keqv_list

import pytest
from abnf import ParseError, Rule
from abnf.grammars import rfc9110
from abnf.grammars.misc import load_grammar_rules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import WWWAuthenticate

from authguard.wire.challenge import Challenge
from authguard.wire.challenge_list import DUPLICATE, MAX_ELEMENTS, Mistake, read_challenges
from authguard.wire.grammar import WireError
from tests.support.vectors import load_vectors

LINES = [line for source in load_vectors("challenges.json")["sources"] for line in source["lines"]]
TCHAR = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

no_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
tokens = st.text(TCHAR, min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
params = st.dictionaries(tokens.map(str.lower), texts, max_size=4)
token68s = st.from_regex(r"[A-Za-z0-9\-._~+/]{1,8}={0,2}", fullmatch=True)
challenges = st.builds(Challenge, tokens, params) | st.builds(Challenge, tokens, token68=token68s)


def test_the_example_of_the_rfc_is_two_challenges() -> None:
    """RFC 9110 section 11.6.1 prints two challenges in one field, one with a comma and quotes in a value."""
    line = b'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'

    assert Challenge.parse_all(line) == (
        Challenge("Basic", {"realm": "simple"}),
        Challenge("Newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}, bare={"type"}),
    )


def test_all_challenges_of_the_rfcs_can_stand_in_one_field() -> None:
    """The examples of the RFCs, joined by commas, are what each of them is alone."""
    joined = ", ".join(LINES).encode()

    assert Challenge.parse_all(joined) == tuple(Challenge.from_header(line.encode()) for line in LINES)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (b"", []),
        (b" , ,\t", []),
        (b"Basic", [Challenge("Basic")]),
        (b"Negotiate, NTLM", [Challenge("Negotiate"), Challenge("NTLM")]),
        (
            b"Negotiate YII=, Basic realm=x",
            [Challenge("Negotiate", token68="YII="), Challenge("Basic", {"realm": "x"}, {"realm"})],
        ),
        (b"X a==,Y", [Challenge("X", token68="a=="), Challenge("Y")]),
        (b"X realm", [Challenge("X", token68="realm")]),
        (b'X a=""', [Challenge("X", {"a": ""})]),
        (b',,X  a = b ,\t,c="d" ,', [Challenge("X", {"a": "b", "c": "d"}, {"a"})]),
        (b"X , a=b", [Challenge("X", {"a": "b"}, {"a"})]),
        (b'X a="\\"\\,\\\\"', [Challenge("X", {"a": '",\\'})]),
        (b'X a=", Y b=c"', [Challenge("X", {"a": ", Y b=c"})]),
        (b"\t X a=b\t", [Challenge("X", {"a": "b"}, {"a"})]),
        ('X a="ü"'.encode(), [Challenge("X", {"a": "ü"})]),
    ],
)
def test_what_a_field_says(line: bytes, read: list[Challenge]) -> None:
    """Commas separate challenges and parameters; empty elements and whitespace beside ``=`` are accepted."""
    assert Challenge.parse_all(line) == tuple(read)


@pytest.mark.parametrize(
    ("line", "problem", "position", "scheme"),
    [
        (b'"x"', "neither a challenge nor a parameter", 0, None),
        (b"X a=b, @", "neither a challenge nor a parameter", 7, "x"),
        (b'X"a"', "no space after the auth-scheme", 1, "x"),
        (b"X:a", "no space after the auth-scheme", 1, "x"),
        (b"X\ta=b", "a tab in place of the space after the auth-scheme", 1, "x"),
        (b"X \ta=b", "a tab in place of the space after the auth-scheme", 2, "x"),
        (b"a=b", "a parameter before any auth-scheme", 0, None),
        (b"Basic, a=b", "a comma between the auth-scheme and its parameters", 7, "basic"),
        (b"X\t, a=b", "a comma between the auth-scheme and its parameters", 4, "x"),
        (b"X YII=, a=b", "a parameter after a token68", 8, "x"),
        (b"X a b=c", "neither parameters nor a token68 after the auth-scheme", 2, "x"),
        (b'X "a"', "neither parameters nor a token68 after the auth-scheme", 2, "x"),
        (b"X b=c, a=", "a parameter without a value", 9, "x"),
        (b"X b=c, a=, Y", "a parameter without a value", 9, "x"),
        (b'X a="b', "a quoted-string without an end", 4, "x"),
        (b'X a="b\\"', "a quoted-string without an end", 4, "x"),
        (b'X a="b\\', "a quoted-string without an end", 4, "x"),
        (b'X a="b\x00"', "a control character in a quoted-string", 6, "x"),
        (b'X a="b\x7f', "a control character in a quoted-string", 6, "x"),
        (b"X a=/b", "a value that needs quotes", 4, "x"),
        (b"X a=b/c", "a value that needs quotes", 5, "x"),
        (b"X a==b", "a value that needs quotes", 4, "x"),
        (b"X a=\xe4", "a value that needs quotes", 4, "x"),
        (b'X a="b" c="d"', "no comma before a parameter", 8, "x"),
        (b"X a=b c=d", "no comma before a parameter", 6, "x"),
        (b"X a=b c", "something after a value that is not a comma", 6, "x"),
        (b'X a="b"c"', "something after a value that is not a comma", 7, "x"),
        (b"X a='b c'", "something after a value that is not a comma", 7, "x"),
        (b"X a=b; c=d", "a value that needs quotes", 5, "x"),
        (b'X a="b"; c=d', "something after a value that is not a comma", 7, "x"),
        (b"X a=b, A=c", "a parameter that the challenge has already", 7, "x"),
        (b'X a="\xff"', "a value that is not UTF-8, or holds a control character", 2, "x"),
        (b'X a="b\tc"', "a value that is not UTF-8, or holds a control character", 2, "x"),
    ],
)
def test_the_first_mistake_is_named_with_its_place(
    line: bytes, problem: str, position: int, scheme: str | None
) -> None:
    """The error says what is wrong, at which byte, and in which challenge."""
    with pytest.raises(WireError) as caught:
        Challenge.parse_all(line)

    assert (caught.value.problem, caught.value.position, caught.value.scheme) == (problem, position, scheme)
    assert str(caught.value) == f"{problem}, at byte {position}"


def test_the_number_of_elements_is_limited() -> None:
    """Empty elements count: RFC 9110 section 5.6.1.2 asks recipients only for a reasonable number of them."""
    assert len(Challenge.parse_all(b",".join([b"X"] * MAX_ELEMENTS))) == MAX_ELEMENTS
    assert len(Challenge.parse_all(b"X,", limit=1)) == 1
    with pytest.raises(WireError, match="too many elements, at byte 512"):
        Challenge.parse_all(b",".join([b"X"] * (MAX_ELEMENTS + 1)))
    with pytest.raises(WireError, match="too many elements, at byte 3"):
        Challenge.parse_all(b",,,X", limit=3)


def test_reading_goes_on_after_a_mistake() -> None:
    """All mistakes are told, and the challenges after them are read."""
    found = read_challenges(b'Basic realm=my app, Digest realm="x" qop=a b, =, Bearer error="e", Error=f')

    assert [(one.scheme, [param.name for param in one.params]) for one in found.challenges] == [
        ("Basic", ["realm"]),
        ("Digest", ["realm", "qop"]),
        ("Bearer", ["error"]),
    ]
    assert [(one.position, one.scheme) for one in found.mistakes] == [
        (15, "basic"),
        (37, "digest"),
        (43, "digest"),
        (46, "digest"),
        (67, "bearer"),
    ]


def test_what_senders_must_not_write_is_told_though_it_is_accepted() -> None:
    """An empty element and whitespace beside ``=`` are mistakes that recipients tolerate."""
    found = read_challenges(b",X a =b,")

    assert found.mistakes == [
        Mistake("an empty element of the list", 0),
        Mistake("whitespace beside the equals sign of a parameter", 4, "x"),
        Mistake("an empty element of the list", 8, "x"),
    ]
    assert all(mistake.is_tolerated for mistake in found.mistakes)


@pytest.mark.parametrize(
    ("line", "places"), [(b"X , a=b, c=d", [4]), (b"X, a=b, c=d", [3]), (b"X a= b", [3]), (b'X a="b\\', [4])]
)
def test_a_mistake_is_told_once(line: bytes, places: list[int]) -> None:
    """What follows from it is no other mistake."""
    assert [mistake.position for mistake in read_challenges(line).mistakes] == places


def test_a_parameter_is_as_it_was_sent() -> None:
    """Its name is in its case, and quotes and escapes are removed from the value."""
    (challenge,) = read_challenges(b'X Realm="a\\b", b=c').challenges
    realm, other = challenge.get("realm"), challenge.get("b")

    assert realm is not None and other is not None  # noqa: PT018
    assert (realm.name, realm.value, realm.is_quoted, realm.position) == ("Realm", b"ab", True, 2)
    assert (other.value, other.is_quoted) == (b"c", False)
    assert challenge.get("d") is None


@pytest.mark.parametrize(
    ("params", "token68"), [({"a": "b"}, "YII="), ({}, "a=b"), ({}, ""), ({}, "=="), ({}, "ü"), ({}, "a b")]
)
def test_a_token68_that_could_not_be_sent_is_refused(params: dict[str, str], token68: str) -> None:
    """It has the characters of RFC 9110 section 11.2, and no parameters beside it."""
    with pytest.raises(ValueError, match="token68 of a challenge"):
        Challenge("X", params, token68=token68)


# --- properties -------------------------------------------------------------------------------------------------------


@no_deadline
@given(st.lists(challenges, max_size=5), st.data())
def test_challenges_survive_a_round_trip_in_one_field(written: list[Challenge], data: st.DataObject) -> None:
    """Whatever stands in the values, and however the list is written, each challenge comes back."""
    commas = st.from_regex(r"[ \t]{0,2},([ \t]?,)?[ \t]{0,2}", fullmatch=True)
    line = "".join(data.draw(commas) + one.to_header().decode("latin-1") for one in written)

    assert Challenge.parse_all(line.encode("latin-1")) == tuple(written)


@load_grammar_rules([(name, rfc9110.Rule(name)) for name in ("auth-param", "auth-scheme", "token68", "OWS")])
class Recipient(Rule):
    """What a recipient must accept: RFC 9110 defines one form of a list for senders, and this one for recipients."""

    grammar: ClassVar[str | list[str]] = [
        'auth-params = [ auth-param ] *( OWS "," OWS [ auth-param ] )',
        "challenge = auth-scheme [ 1*SP ( token68 / auth-params ) ]",
        'challenges = [ challenge ] *( OWS "," OWS [ challenge ] )',
    ]


def _is_accepted(line: str) -> bool:
    """A name that is listed twice is in the grammar, and forbidden by section 11.2."""
    mistakes = read_challenges(line.encode("latin-1")).mistakes
    return all(mistake.is_tolerated or mistake.problem == DUPLICATE for mistake in mistakes)


def _matches(rule: Rule, line: str) -> bool:
    try:
        rule.parse_all(line)
    except ParseError:
        return False
    return True


pieces = st.sampled_from(["a", "B", "c1", "=", "==", '"', '""', '"x"', "\\", ",", " ", "\t", "/", "é", "\x7f", "a=b"])
lines = st.lists(pieces, max_size=10).map(lambda parts: "".join(parts).strip(" \t"))


@pytest.mark.rfc("9110-6")
@settings(no_deadline, max_examples=500)
@given(lines)
def test_a_field_is_accepted_if_the_abnf_accepts_it(line: str) -> None:
    """The reader accepts exactly what the recipient's grammar of section 11.6.1 accepts."""
    assert _is_accepted(line) == _matches(Recipient("challenges"), line)


@settings(no_deadline, max_examples=500)
@given(lines)
def test_a_field_has_no_mistake_if_the_abnf_of_senders_has_it(line: str) -> None:
    """Where not even a tolerated mistake is told, the collected ABNF of RFC 9110 has the field, and the reverse."""
    mistakes = [mistake for mistake in read_challenges(line.encode("latin-1")).mistakes if mistake.problem != DUPLICATE]
    has_whitespace = any("whitespace" in mistake.problem for mistake in mistakes)

    if not has_whitespace:  # the ABNF has BWS too; its text forbids it
        assert (mistakes == []) == _matches(rfc9110.Rule("WWW-Authenticate"), line)


@no_deadline
@given(st.lists(st.sampled_from([b"X", b"a", b"=", b'"', b"\\", b",", b" ", b"\t", b"\x00", b"\xff"])).map(b"".join))
def test_places_are_inside_the_field_and_in_order(line: bytes) -> None:
    """No input raises anything but a ``WireError``, and each mistake has a place of the field."""
    places = [mistake.position for mistake in read_challenges(line).mistakes]

    assert all(0 <= place <= len(line) for place in places)
    with suppress(WireError):
        Challenge.parse_all(line)


# --- other parsers ----------------------------------------------------------------------------------------------------

ascii_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
#: Names of parameters that no parser takes for anything else.
names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)


@no_deadline
@given(names, st.dictionaries(names, ascii_texts, min_size=1, max_size=4))
def test_werkzeug_reads_the_same(scheme: str, pairs: dict[str, str]) -> None:
    """Werkzeug's ``WWWAuthenticate`` reads one challenge, and finds the same parameters in it."""
    line = Challenge(scheme, pairs).to_header()
    theirs = WWWAuthenticate.from_header(line.decode())

    assert theirs is not None
    assert [(theirs.type, dict(theirs.parameters))] == [
        (one.scheme, dict(one.params)) for one in Challenge.parse_all(line)
    ]


@no_deadline
@given(names, st.dictionaries(names, ascii_texts.filter(lambda text: "\\" not in text and '"' not in text), min_size=1))
def test_urllib_reads_the_same(scheme: str, pairs: dict[str, str]) -> None:
    """The standard library reads the parameters of one challenge, which it splits off by itself; it keeps escapes."""
    line = Challenge(scheme, pairs).to_header()
    theirs = parse_keqv_list(parse_http_list(line.decode().partition(" ")[2]))

    assert [theirs] == [dict(one.params) for one in Challenge.parse_all(line)]
