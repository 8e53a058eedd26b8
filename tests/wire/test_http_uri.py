"""The normal form of the URI of a request: RFC 3986 section 6.2."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.wire.grammar import WireError
from authguard.wire.http_uri import normal_path, normal_uri


@pytest.mark.parametrize(
    ("uri", "normal"),
    [
        ("https://api.example/orders", "https://api.example/orders"),
        ("HTTPS://API.Example/Orders", "https://api.example/Orders"),
        ("https://api.example:443/orders", "https://api.example/orders"),
        ("https://api.example:0443/orders", "https://api.example/orders"),
        ("http://api.example:80/orders", "http://api.example/orders"),
        ("http://api.example:443/orders", "http://api.example:443/orders"),
        ("https://api.example:8443/orders", "https://api.example:8443/orders"),
        ("https://api.example:/orders", "https://api.example/orders"),
        ("https://api.example", "https://api.example/"),
        ("https://api.example?page=2", "https://api.example/"),
        ("https://api.example/orders?page=2#top", "https://api.example/orders"),
        ("https://api.example/orders#top?", "https://api.example/orders"),
        ("https://api.example/%6frders%2f%c3%a9", "https://api.example/orders%2F%C3%A9"),
        ('https://api.example/a|b c"', "https://api.example/a%7Cb%20c%22"),
        ("https://api.example/a/./b/../c", "https://api.example/a/c"),
        ("https://api.example/a/%2e%2E/c", "https://api.example/c"),
        ("https://api.example/../..", "https://api.example/"),
        ("https://api.example/a/.", "https://api.example/a/"),
        ("https://api.example/a/..", "https://api.example/"),
        ("https://api.example/a//b", "https://api.example/a//b"),
        ("https://api.example/.well-known/x", "https://api.example/.well-known/x"),
        ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]/"),
        ("https://%41pi.example/", "https://api.example/"),
    ],
)
@pytest.mark.rfc("9449-3")
def test_the_normal_form_of_a_uri(uri: str, normal: str) -> None:
    """What RFC 3986 calls equivalent has one form, without query and fragment."""
    assert normal_uri(uri) == normal


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("", "not an absolute"),
        ("/orders", "not an absolute"),
        ("//api.example/orders", "not an absolute"),
        ("ftp://api.example/", "not an absolute"),
        ("https:///orders", "not an absolute"),
        ("https://alice@api.example/", "not an absolute"),
        ("https://api.example\\@evil.example/", "not an absolute"),
        ("https://api.example:x/", "not an absolute"),
        ("https://äpi.example/", "not an absolute"),
        ("https://api.example/\n", "not an absolute"),
        ("https://api.example:123456/", "more than five digits"),
        ("https://api.example/%zz", "two hexadecimal digits"),
        ("https://api.example/100%", "two hexadecimal digits"),
    ],
)
def test_what_is_no_uri_of_a_request_is_refused(uri: str, problem: str) -> None:
    """The problem says what is wrong, and holds nothing of the URI."""
    with pytest.raises(WireError, match=problem):
        normal_uri(uri)


def test_the_path_of_a_request_has_the_normal_form_of_its_uri() -> None:
    """The path is compared as it was sent, in bytes, and an empty one is a slash."""
    assert [normal_path(path) for path in (b"", b"/a%7e", b"/\xc3\xa9", b"/a/../b")] == ["/", "/a~", "/%C3%A9", "/b"]


@given(st.text(min_size=1, max_size=30).map(lambda text: "/" + quote(text, safe="")))
def test_the_normal_form_is_its_own_normal_form(path: str) -> None:
    """To normalise twice changes nothing, so the order of two comparisons does not matter."""
    once = normal_path(path.encode())
    assert normal_path(once.encode()) == once


@given(st.lists(st.sampled_from([".", "..", "a", "", "%2e", "%2E%2e", "..."]), max_size=8))
def test_no_dot_segment_is_left(segments: list[str]) -> None:
    """However dots are spelled, the normal form leads nowhere else."""
    normal = normal_path(("/" + "/".join(segments)).encode()).split("/")
    assert not {".", ".."} & set(normal)
