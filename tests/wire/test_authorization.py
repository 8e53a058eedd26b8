from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard.wire.authorization import (
    MAX_FIELD,
    MAX_PARAMS,
    Credentials,
    auth_params,
    split,
    split_plain,
    token68,
)
from authguard.wire.grammar import WireError
from tests.support.vectors import load_vectors

CASES = [case for source in load_vectors("auth_fields.json")["sources"] for case in source["cases"]]


@pytest.mark.parametrize("case", CASES, ids=[case["field"] for case in CASES])
def test_fields_of_other_test_suites_are_read_as_the_table_says(case: dict[str, Any]) -> None:
    """Fields from other test suites are parsed as there, or refused with the problem that the table names."""
    expected = {key: value for key, value in case.items() if key not in {"field", "note"}}

    assert _read(case["field"].encode("latin-1"), as_token68="token68" in case) == expected


def _read(field: bytes, *, as_token68: bool) -> dict[str, object]:
    try:
        credentials = split(field)
        if as_token68:
            return {"scheme": credentials.scheme, "token68": token68(credentials.rest).decode("latin-1")}
        params = {name: value.decode("latin-1") for name, value in auth_params(credentials.rest).items()}
    except WireError as error:
        return {"problem": error.problem}
    return {"scheme": credentials.scheme, "params": params}


@pytest.mark.rfc("9110-4")
@pytest.mark.parametrize(
    ("field", "scheme", "rest"),
    [
        (b"Bearer abc", "bearer", b"abc"),
        (b"BEARER abc", "bearer", b"abc"),
        (b"Bearer   abc", "bearer", b"abc"),
        (b" \tBearer abc\t ", "bearer", b"abc"),
        (b"Bearer", "bearer", b""),
        (b"Bearer ", "bearer", b""),
        (b"Bearer " + b" " * 8192, "bearer", b""),
        (b"Bearer \tabc", "bearer", b"\tabc"),
        (b"AWS4-HMAC-SHA256 a=b", "aws4-hmac-sha256", b"a=b"),
        (b"X \x00\xff", "x", b"\x00\xff"),
    ],
)
def test_a_field_is_parted_at_the_spaces_after_its_scheme(field: bytes, scheme: str, rest: bytes) -> None:
    """The scheme is in lower case and the rest is unchanged, whatever the number of spaces between them."""
    assert split(field) == Credentials(scheme, rest)


@pytest.mark.parametrize("separator", [b"\t", b"=", b"/", b",", b'"', b";", b"\n", b"\r", b"\x00", b"\xa0", b"(", b"@"])
def test_a_space_must_follow_the_scheme(separator: bytes) -> None:
    """Any other byte after the scheme is refused, and the error still names the scheme."""
    with pytest.raises(WireError) as caught:
        split(b"Bearer" + separator + b"abc")

    assert (caught.value.problem, caught.value.scheme) == ("no space after the auth-scheme", "bearer")


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (b"", "empty"),
        (b" ", "empty"),
        (b"\t \t", "empty"),
        (b" " * MAX_FIELD, "empty"),
        (b'"Bearer" abc', "no auth-scheme"),
        (b"\xc3\xa4 abc", "no auth-scheme"),
        (b"\nBearer abc", "no auth-scheme"),
    ],
)
def test_a_field_without_a_scheme_is_refused(field: bytes, problem: str) -> None:
    """The error names no scheme, because none could be read."""
    with pytest.raises(WireError) as caught:
        split(field)

    assert (caught.value.problem, caught.value.scheme) == (problem, None)


def test_a_field_may_be_as_long_as_the_limit_and_no_longer() -> None:
    """The limit is 16 KiB, inclusive, and counts surrounding whitespace too."""
    field = b"X " + b"a" * (MAX_FIELD - 2)

    assert MAX_FIELD == len(field) == 16384
    assert split(field) == Credentials("x", b"a" * (MAX_FIELD - 2))
    with pytest.raises(WireError, match=r"^too long$"):
        split(field + b" ")


def test_the_limit_can_be_set() -> None:
    """A caller that wants shorter fields passes ``limit``."""
    with pytest.raises(WireError, match=r"^too long$"):
        split(b"Bearer abc", limit=9)


def test_the_repr_of_credentials_hides_the_secret() -> None:
    """The repr shows the scheme and not the rest."""
    assert repr(Credentials("bearer", b"s3cret")) == "Credentials(scheme='bearer')"


def test_credentials_without_a_rest_are_written_without_a_space() -> None:
    """A scheme without a rest is written as the bare scheme name."""
    assert Credentials("negotiate", b"").to_header() == b"negotiate"


def test_credentials_are_written_with_one_space() -> None:
    """Exactly one space separates scheme and rest."""
    assert Credentials("bearer", b"abc").to_header() == b"bearer abc"


@pytest.mark.parametrize("rest", [b"a", b"A0-._~+/", b"YWxhZGRpbjpvcGVuc2VzYW1l", b"a=", b"a==", b"a====", b"a.b.c"])
def test_a_token68_is_returned_unchanged(rest: bytes) -> None:
    """A token68 may end with any number of equals signs."""
    assert token68(rest) == rest


@pytest.mark.parametrize(
    "rest",
    [b"=", b"==a", b"a=b", b"a b", b"a,b", b"a ", b" a", b"a\n", b"a\t", b'"a"', b"a:b", b"\xe4", b"a%3D", b"a\x00"],
)
def test_anything_but_a_token68_is_refused(rest: bytes) -> None:
    """Nothing is stripped from the input to make it a token68."""
    with pytest.raises(WireError, match=r"^not a token68$"):
        token68(rest)


def test_an_empty_rest_has_its_own_problem() -> None:
    """The log tells a client that sent only the scheme from one that sent a malformed token."""
    with pytest.raises(WireError, match=r"^nothing after the auth-scheme$"):
        token68(b"")


@pytest.mark.parametrize(
    ("rest", "params"),
    [
        (b"", {}),
        (b",", {}),
        (b", ,\t,", {}),
        (b'a="1, b=2"', {"a": b"1, b=2"}),
        (b'a="\\"", b="\\\\"', {"a": b'"', "b": b"\\"}),
        (b'a="\\\\\\""', {"a": b'\\"'}),
        (b'a="\\a\\,"', {"a": b"a,"}),
        (b'a=""', {"a": b""}),
        (b'a="\t \xff"', {"a": b"\t \xff"}),
        (b"a\t =\t b", {"a": b"b"}),
        (b"username*=UTF-8''J%C3%A4s", {"username*": b"UTF-8''J%C3%A4s"}),
        (b"NC=00000001,,Qop=auth,", {"nc": b"00000001", "qop": b"auth"}),
    ],
)
def test_auth_params_are_parsed(rest: bytes, params: dict[str, bytes]) -> None:
    """Names are in lower case, values are without quotes and escapes, and empty elements are ignored."""
    assert auth_params(rest) == params


@pytest.mark.parametrize(
    "rest",
    [
        b"a",
        b"a=",
        b"=b",
        b'a="b',
        b'a="b\\"',
        b'a="b\\',
        b'a="b"c',
        b'a="b" c="d"',
        b"a=b c=d",
        b"a=b;c=d",
        b"a=b, c",
        b"a=b c",
        b"a=b ",
        b"\ta=b",
        b" a=b",
        b"a=b\n",
        b"a=b,\nc=d",
        b'a="b\nc"',
        b'a="b\x00"',
        b'a="b\x7f"',
        b"a=\xe4",
        b"a=b=c",
        b'"a"=b',
        b"a='b c'",
    ],
)
def test_nothing_between_auth_params_is_skipped(rest: bytes) -> None:
    """A list is parsed from its first byte to its last, or it is an error."""
    with pytest.raises(WireError, match=r"^not a list of auth-params$"):
        auth_params(rest)


@pytest.mark.rfc("9110-5")
@pytest.mark.parametrize("rest", [b"a=1,a=1", b"a=1, b=2, A=3", b'nonce="x",,NONCE=y'])
def test_a_name_that_is_listed_twice_is_refused(rest: bytes) -> None:
    """Two parsers could choose different values, so the list is an error."""
    with pytest.raises(WireError, match=r"^duplicate auth-param$"):
        auth_params(rest)


@pytest.mark.rfc("limits-1")
def test_a_list_of_the_limit_is_read_and_one_element_more_is_not() -> None:
    """``MAX_PARAMS`` elements are accepted."""
    names = [b"p%d=1" % number for number in range(MAX_PARAMS + 1)]

    assert len(auth_params(b",".join(names[:MAX_PARAMS]))) == MAX_PARAMS
    with pytest.raises(WireError, match=r"^too many auth-params$"):
        auth_params(b",".join(names))


def test_empty_elements_count() -> None:
    """A field of commas alone runs into the limit too."""
    assert auth_params(b"," * (MAX_PARAMS - 1)) == {}
    with pytest.raises(WireError, match=r"^too many auth-params$"):
        auth_params(b"," * MAX_PARAMS)


# --- the short way ----------------------------------------------------------------------------------------------------

NAMES = {
    spelling: name
    for name in ("bearer", "basic", "x-own")
    for spelling in (name.encode(), name.upper().encode(), name.capitalize().encode())
}
_blanks = st.sampled_from(
    [b"", b" ", b"  ", b"\t", b" \t", b"\t ", b"\n", b"\0", b",", b"=", b"\xa0", b"\x85", b"\x0b"]
)
_words = st.sampled_from(
    [*NAMES, b"bEARER", b"Bearer:", b"Bearerx", b"Bear", b"", b"Digest", b"Bearer,", b"\xefBearer", b"Bearer\xa0"]
)
_rests = st.sampled_from([b"a", b"a.b-c", b"YWxpY2U6eA==", b"a b", b'a="b"', b"a, Basic b", b"\xff", b"", b"\0"])
_fields = st.binary(max_size=30) | st.lists(_blanks | _words | _rests, max_size=6).map(b"".join)
_usual_fields = st.tuples(_blanks, _words, _blanks, _rests | st.binary(max_size=12), _blanks).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(field=_fields | _usual_fields)
def test_a_field_that_is_split_the_short_way_is_split_the_same_way(field: bytes) -> None:
    """For any bytes, the short way gives what the long way gives, or nothing."""
    plain = split_plain(field, NAMES)

    if plain is not None:
        assert plain == split(field)


@pytest.mark.parametrize("spelling", NAMES)
def test_a_usual_field_is_split_the_short_way(spelling: bytes) -> None:
    """One space, and something after it that neither begins nor ends with a blank."""
    for rest in (b"a", b"a b", b"a\tb", b"a=b, c=d", b"\xff", b"=", b"x" * (MAX_FIELD - len(spelling) - 1)):
        assert split_plain(spelling + b" " + rest, NAMES) == Credentials(NAMES[spelling], rest)


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer  a",
        b"Bearer \ta",
        b"Bearer\ta",
        b" Bearer a",
        b"\tBearer a",
        b"Bearer a ",
        b"Bearer a\t",
        b"bEARER a",
        b"Digest a",
        b"Bearer,a b",
        b"Bearer\xa0a",
        b"Bearer " + b"x" * MAX_FIELD,
    ],
)
def test_an_unusual_field_is_left_to_the_long_way(field: bytes) -> None:
    """A field with other blanks, another spelling or another scheme, and one that is too long, has no short way."""
    assert split_plain(field, NAMES) is None
