"""The ``Cookie`` field: which cookies are in it, whatever stands around them."""

from __future__ import annotations

import pytest

from authguard.wire.cookie import MAX_COOKIES, cookie_value, cookie_values, stripped_cookie_names
from authguard.wire.grammar import WireError


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (b"sid=a", [b"a"]),
        (b"x=1; sid=a; y=2", [b"a"]),
        (b"x=1;sid=a;y=2", [b"a"]),
        (b" sid\t=  a ", [b"a"]),
        (b"sid=a; sid=b", [b"a", b"b"]),
        (b"sid=; sid=b", [b"", b"b"]),
        (b"sid=a=b==", [b"a=b=="]),
        (b"SID=a; asid=b; sid2=c; sid", []),
        (b"x=sid=a", []),
        # A semicolon ends a cookie even between quotes: Python's http.cookies once read one cookie there.
        (b'x="; sid=evil; y="', [b"evil"]),
        (b'sid="a;b"', [b'"a']),
        (b"", []),
        (b";;;=;", []),
        (b"sid=\x00", [b"\x00"]),
    ],
)
def test_a_cookie_is_found_by_its_name(line: bytes, values: list[bytes]) -> None:
    """All cookies of the very name are found, and no part of another one."""
    assert cookie_values([line], "sid") == values


def test_several_lines_are_one_list() -> None:
    """HTTP/2 may send a line for each cookie (RFC 9113 section 8.2.3)."""
    assert cookie_values([b"x=1", b"sid=a", b"sid=b; y=2"], "sid") == [b"a", b"b"]


def test_a_name_is_no_pattern() -> None:
    """A dot in the name of a cookie is a dot."""
    assert cookie_values([b"aXb=1; a.b=2"], "a.b") == [b"2"]


@pytest.mark.parametrize("blank", [chr(code) for code in range(256) if chr(code).isspace()])
def test_a_name_is_what_python_strips_it_to(blank: str) -> None:
    """Starlette takes ``\\xa0session`` for ``session``; the grammar of RFC 6265 does not."""
    sent = f"a=1; {blank}session{blank}=2".encode("latin-1")

    (name,) = stripped_cookie_names([sent], "session")
    assert name.decode("latin-1").strip() == "session"
    assert stripped_cookie_names([b"xsession=1; sessions=2; session"], "session") == []


def test_quotes_around_a_value_are_left_out() -> None:
    """Libraries write quotes around a value with ``=`` or ``/``; both spellings are one value."""
    assert (cookie_value(b'"a/b=="'), cookie_value(b"a/b=="), cookie_value(b'""')) == (b"a/b==", b"a/b==", b"")


@pytest.mark.parametrize(
    "value", [b'"a', b'a"', b'a"b', b"a b", b"a,b", b"a\\b", b"a\x00", b"\xc3\xa9", b'"', b"a\x7f"]
)
def test_a_value_of_other_characters_is_refused(value: bytes) -> None:
    """RFC 6265 section 4.1.1 has no spaces, commas, quotes, backslashes, control characters or UTF-8 in a value."""
    with pytest.raises(WireError, match="a character that no cookie has"):
        cookie_value(value)


@pytest.mark.parametrize("line", [b";" * MAX_COOKIES, b" " * MAX_COOKIES, b"sid" * (MAX_COOKIES // 3), b"sid=" * 9999])
def test_a_long_field_is_searched_in_one_pass(line: bytes) -> None:
    """However a field of 64 KiB is made, it has no more values than it has cookies of the name."""
    assert len(cookie_values([line], "sid")) == (1 if line.startswith(b"sid=") else 0)
