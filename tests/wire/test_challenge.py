from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from abnf.grammars import rfc9110

from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError
from tests.wire.tokens import vectors

LINES = [line for source in vectors("challenges.json")["sources"] for line in source["lines"]]


@pytest.mark.parametrize("line", LINES)
def test_a_challenge_of_an_rfc_is_written_octet_for_octet(line: str) -> None:
    """What the RFCs print comes out as they print it, quotes and all."""
    assert Challenge.from_header(line.encode()).to_header() == line.encode()


@pytest.mark.rfc("9110-6")
@pytest.mark.parametrize("realm", ['a"b\\c', "", "Ünïcödé", "a, b=c", "\\", '"', "日本語", " "])
def test_what_is_sent_is_a_challenge_as_of_rfc_9110(realm: str) -> None:
    """Whatever the realm, the RFC's own grammar accepts the line, and the realm comes back unchanged."""
    challenge = Challenge("Basic", {"realm": realm, "charset": "UTF-8"})

    line = challenge.to_header()

    assert rfc9110.Rule("challenge").parse_all(line.decode("latin-1")).value == line.decode("latin-1")
    assert Challenge.from_header(line).get("realm") == realm


def test_quotes_and_backslashes_are_escaped() -> None:
    """The two octets that would end or bend a quoted-string get a backslash before them."""
    assert Challenge("Basic", {"realm": 'a"b\\c'}).to_header() == b'Basic realm="a\\"b\\\\c"'


def test_text_outside_ascii_is_sent_in_utf_8() -> None:
    """An umlaut takes two octets."""
    assert Challenge("Basic", {"realm": "ü"}).to_header() == b'Basic realm="\xc3\xbc"'


def test_bare_values_are_sent_without_quotes() -> None:
    """A name in ``bare`` is a token on the wire, whatever the case it is given in; the others are quoted."""
    challenge = Challenge("Digest", (("realm", "x"), ("stale", "true")), bare={"STALE", "algorithm"})

    assert challenge.to_header() == b'Digest realm="x", stale=true'


def test_names_in_bare_that_are_not_there_do_not_matter() -> None:
    """A scheme may name what it never quotes once for all its challenges."""
    assert Challenge("Digest", {"realm": "x"}, bare={"stale"}) == Challenge("Digest", {"realm": "x"})


def test_a_challenge_may_have_no_parameters() -> None:
    """Negotiate asks without any."""
    challenge = Challenge("Negotiate")

    assert (challenge.to_header(), challenge.get("realm")) == (b"Negotiate", None)


def test_a_mapping_and_pairs_are_the_same() -> None:
    """The order of a mapping is the order on the wire, as that of pairs is."""
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
    """Equality is that of the field line."""
    assert Challenge("Bearer", {"realm": "x"}) != other


def test_names_have_no_case() -> None:
    """A parameter is found, compared and sent without regard to the case of its name."""
    challenge = Challenge("Bearer", {"Realm": "X"})

    assert (challenge.get("REALM"), challenge.params) == ("X", (("realm", "X"),))


def test_a_challenge_can_be_hashed_copied_replaced_and_pickled() -> None:
    """It is a value like any other."""
    challenge = Challenge("Digest", {"realm": "x", "stale": "true"}, bare={"stale"})

    copies = {challenge, copy.copy(challenge), dataclasses.replace(challenge), pickle.loads(pickle.dumps(challenge))}

    assert copies == {challenge}


def test_a_challenge_cannot_be_changed() -> None:
    """What was checked when it was built stays as it was."""
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
        ("Basic", {"": "x"}, (), "'' of a challenge is not named by a token"),
        ("Basic", {"re alm": "x"}, (), "'re alm' of a challenge is not named by a token"),
        ("Basic", {"realm\r\nX": "x"}, (), "of a challenge is not named by a token"),
        ("Basic", {"\u212aid": "x"}, (), "of a challenge is not named by a token"),
        ("Basic", {"realm": "a\ud800"}, (), "'realm' of a challenge holds half of a surrogate pair"),
        ("Basic", [("realm", "x"), ("REALM", "x")], (), "the parameter 'REALM' stands in a challenge twice"),
        ("Digest", {"stale": "not a token"}, {"stale"}, "sent without quotes, so its value must be one"),
        ("Digest", {"stale": ""}, {"stale"}, "sent without quotes, so its value must be one"),
        ("Digest", {"stale": "ü"}, {"stale"}, "sent without quotes, so its value must be one"),
    ],
)
def test_a_challenge_that_could_not_be_sent_is_not_built(
    scheme: str, params: dict[str, str] | list[tuple[str, str]], bare: set[str], problem: str
) -> None:
    """The error comes while the app is built, and says what is wrong."""
    with pytest.raises(ValueError, match=problem):
        Challenge(scheme, params, bare)


@pytest.mark.rfc("9110-6")
@pytest.mark.parametrize("character", [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0))])
def test_control_characters_are_refused(character: str) -> None:
    """No control character gets into a field line: not CR and LF, not NUL, HTAB, DEL or those above."""
    with pytest.raises(ValueError, match="'realm' of a challenge holds a control character"):
        Challenge("Basic", {"realm": f"a{character}b"})


def test_a_string_for_bare_is_refused() -> None:
    """A name alone would be read letter by letter."""
    with pytest.raises(TypeError, match="bare must hold names, not be one"):
        Challenge("Digest", {"stale": "true"}, bare="stale")


@pytest.mark.parametrize(
    ("line", "problem", "scheme"),
    [
        (b"", "no auth-scheme", None),
        (b' , Basic realm="x"', "no auth-scheme", None),
        (b"Basic\trealm=x", "no space after the auth-scheme", "basic"),
        (b"Negotiate YII=", "not a list of auth-params", None),
        (b'Basic realm="x", Digest realm="y"', "not a list of auth-params", None),
        (b'Basic realm="x', "not a list of auth-params", None),
        (b'Basic realm="x", Realm="y"', "duplicate auth-param", None),
        (b'Basic realm="\xe4"', "a value that no challenge of ours has", "basic"),
        (b'Basic realm="a\tb"', "a value that no challenge of ours has", "basic"),
    ],
)
def test_a_line_that_is_not_one_challenge_of_ours_is_refused(line: bytes, problem: str, scheme: str | None) -> None:
    """Reading takes what writing can send, and nothing else."""
    with pytest.raises(WireError) as caught:
        Challenge.from_header(line)

    assert (caught.value.problem, caught.value.scheme) == (problem, scheme)


def test_whitespace_round_a_line_is_no_part_of_it() -> None:
    """A field value is read without the whitespace that a sender put round it."""
    assert Challenge.from_header(b'\t Basic  realm = "x" ,, ') == Challenge("Basic", {"realm": "x"})
