from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from abnf.grammars import rfc9110

from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError
from tests.support.vectors import load_vectors

LINES = [line for source in load_vectors("challenges.json")["sources"] for line in source["lines"]]


@pytest.mark.parametrize("line", LINES)
def test_a_challenge_from_an_rfc_is_written_byte_for_byte(line: str) -> None:
    """The examples of the RFCs are parsed and written back unchanged, quotes included."""
    assert Challenge.from_header(line.encode()).to_header() == line.encode()


@pytest.mark.rfc("9110-6")
@pytest.mark.parametrize("realm", ['a"b\\c', "", "Ünïcödé", "a, b=c", "\\", '"', "日本語", " "])
def test_what_is_sent_is_a_challenge_as_of_rfc_9110(realm: str) -> None:
    """The RFC's own grammar accepts the line, and the realm is read back unchanged."""
    challenge = Challenge("Basic", {"realm": realm, "charset": "UTF-8"})

    line = challenge.to_header()

    assert rfc9110.Rule("challenge").parse_all(line.decode("latin-1")).value == line.decode("latin-1")
    assert Challenge.from_header(line).get("realm") == realm


def test_quotes_and_backslashes_are_escaped() -> None:
    """The two characters that are special in a quoted-string get a backslash before them."""
    assert Challenge("Basic", {"realm": 'a"b\\c'}).to_header() == b'Basic realm="a\\"b\\\\c"'


def test_text_outside_ascii_is_sent_in_utf_8() -> None:
    """An umlaut is sent as two bytes."""
    assert Challenge("Basic", {"realm": "ü"}).to_header() == b'Basic realm="\xc3\xbc"'


def test_bare_values_are_sent_without_quotes() -> None:
    """The value of a name in ``bare``, in whatever case, is sent as a token; all others are quoted."""
    challenge = Challenge("Digest", (("realm", "x"), ("stale", "true")), bare={"STALE", "algorithm"})

    assert challenge.to_header() == b'Digest realm="x", stale=true'


def test_names_in_bare_that_are_not_parameters_are_ignored() -> None:
    """A scheme can pass the same ``bare`` to all its challenges."""
    assert Challenge("Digest", {"realm": "x"}, bare={"stale"}) == Challenge("Digest", {"realm": "x"})


def test_a_challenge_may_have_no_parameters() -> None:
    """Negotiate is such a challenge."""
    challenge = Challenge("Negotiate")

    assert (challenge.to_header(), challenge.get("realm")) == (b"Negotiate", None)


def test_a_token68_is_written_and_read() -> None:
    """Negotiate sends one in place of parameters, to go on with a handshake."""
    challenge = Challenge("Negotiate", token68="YII=")

    assert challenge.to_header() == b"Negotiate YII="
    assert Challenge.from_header(b"Negotiate YII=") == challenge != Challenge("Negotiate")


def test_a_mapping_and_pairs_are_the_same() -> None:
    """The parameters may be a mapping or pairs; the order is kept in both cases."""
    pairs = [("realm", "x"), ("error", "invalid_token")]

    assert Challenge("Bearer", dict(pairs)) == Challenge("Bearer", tuple(pairs)) == Challenge("Bearer", iter(pairs))


@pytest.mark.parametrize(
    "other",
    [
        Challenge("Basic", {"realm": "x"}),
        Challenge("Bearer", {"realm": "y"}),
        Challenge("Bearer", {"realm": "x", "scope": "a"}),
        Challenge("Bearer", {"realm": "x"}, bare={"realm"}),
    ],
)
def test_challenges_that_look_different_on_the_wire_are_not_equal(other: Challenge) -> None:
    """Two challenges are equal exactly if their field lines are."""
    assert Challenge("Bearer", {"realm": "x"}) != other


def test_names_have_no_case() -> None:
    """Parameter names are case-insensitive; they are stored and sent in lower case."""
    challenge = Challenge("Bearer", {"Realm": "X"})

    assert (challenge.get("REALM"), challenge.params) == ("X", (("realm", "X"),))


def test_a_challenge_can_be_hashed_copied_replaced_and_pickled() -> None:
    """A challenge is a value: copies of all kinds are equal to it."""
    challenge = Challenge("Digest", {"realm": "x", "stale": "true"}, bare={"stale"})

    copies = {challenge, copy.copy(challenge), dataclasses.replace(challenge), pickle.loads(pickle.dumps(challenge))}

    assert copies == {challenge}


def test_a_challenge_cannot_be_changed() -> None:
    """The check in the constructor stays true, because no field can be assigned to."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Challenge("Basic").scheme = "Basic\r\nSet-Cookie: a=b"  # type: ignore[misc]


@pytest.mark.rfc("6750-5")
@pytest.mark.parametrize(
    ("scheme", "params", "bare", "problem"),
    [
        ("", {}, (), "the auth-scheme of a challenge must be a token"),
        ("Ba sic", {}, (), "the auth-scheme of a challenge must be a token"),
        ("Basic\r\nX: y", {}, (), "the auth-scheme of a challenge must be a token"),
        ("Bäsic", {}, (), "the auth-scheme of a challenge must be a token"),
        ("Basic", {"": "x"}, (), "'' of a challenge has a name that is not a token"),
        ("Basic", {"re alm": "x"}, (), "'re alm' of a challenge has a name that is not a token"),
        ("Basic", {"realm\r\nX": "x"}, (), "of a challenge has a name that is not a token"),
        ("Basic", {"\u212aid": "x"}, (), "of a challenge has a name that is not a token"),
        ("Basic", {"realm": "a\ud800"}, (), "'realm' of a challenge holds half of a surrogate pair"),
        ("Basic", [("realm", "x"), ("REALM", "x")], (), "the parameter 'REALM' of a challenge is listed twice"),
        ("Digest", {"stale": "not a token"}, {"stale"}, "sent without quotes, so its value must be a token"),
        ("Digest", {"stale": ""}, {"stale"}, "sent without quotes, so its value must be a token"),
        ("Digest", {"stale": "ü"}, {"stale"}, "sent without quotes, so its value must be a token"),
    ],
)
def test_a_challenge_that_could_not_be_sent_is_not_built(
    scheme: str, params: dict[str, str] | list[tuple[str, str]], bare: set[str], problem: str
) -> None:
    """The constructor raises ``ValueError``, and the message names the problem."""
    with pytest.raises(ValueError, match=problem):
        Challenge(scheme, params, bare)


@pytest.mark.rfc("9110-6")
@pytest.mark.parametrize("character", [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0))])
def test_control_characters_are_refused(character: str) -> None:
    """No control character gets into a field line: CR, LF, NUL, HTAB, DEL or C1."""
    with pytest.raises(ValueError, match="'realm' of a challenge holds a control character"):
        Challenge("Basic", {"realm": f"a{character}b"})


def test_a_string_for_bare_is_refused() -> None:
    """A string is a collection of its letters, which is never what the caller means."""
    with pytest.raises(TypeError, match="bare must be a collection of names, not a string"):
        Challenge("Digest", {"stale": "true"}, bare="stale")


@pytest.mark.parametrize(
    ("line", "problem", "scheme"),
    [
        (b"", "no auth-scheme", None),
        (b' , Basic realm="x"', "no auth-scheme", None),
        (b"Basic\trealm=x", "no space after the auth-scheme", "basic"),
        (b"Negotiate YII== a", "not a list of auth-params", None),
        (b'Basic realm="x", Digest realm="y"', "not a list of auth-params", None),
        (b'Basic realm="x', "not a list of auth-params", None),
        (b'Basic realm="x", Realm="y"', "duplicate auth-param", None),
        (b'Basic realm="\xe4"', "a value that is not UTF-8, or holds a control character", "basic"),
        (b'Basic realm="a\tb"', "a value that is not UTF-8, or holds a control character", "basic"),
    ],
)
def test_a_line_that_to_header_could_not_have_written_is_refused(line: bytes, problem: str, scheme: str | None) -> None:
    """``from_header`` raises ``WireError`` for anything that ``to_header`` cannot write."""
    with pytest.raises(WireError) as caught:
        Challenge.from_header(line)

    assert (caught.value.problem, caught.value.scheme) == (problem, scheme)


def test_whitespace_round_a_line_is_no_part_of_it() -> None:
    """Whitespace around a field value is ignored."""
    assert Challenge.from_header(b'\t Basic  realm = "x" ,, ') == Challenge("Basic", {"realm": "x"})
