from __future__ import annotations

from base64 import b64encode

import pytest

from authguard.wire.basic import UserPass
from authguard.wire.grammar import WireError


def _problem_of(token: bytes) -> str:
    with pytest.raises(WireError) as caught:
        UserPass.from_token68(token)
    assert caught.value.__context__ is None
    return caught.value.problem


@pytest.mark.rfc("7617-3")
@pytest.mark.parametrize(
    ("token", "username", "password"),
    [
        # RFC 7617, sections 2 and 2.1.
        (b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
        (b"dGVzdDoxMjPCow==", "test", "123£"),
        # chromium/chromium, net/http/http_auth_handler_basic_unittest.cc, GenerateAuthToken.
        (b"Zm9vOmJhcg==", "foo", "bar"),
        (b"OmZvb2Jhcg==", "", "foobar"),
        (b"YW5vbjo=", "anon", ""),
        (b"Og==", "", ""),
        # pallets/werkzeug, tests/test_http.py, test_authorization_header.
        (b"0YDRg9GB0YHQutC40IE60JHRg9C60LLRiw==", "русскиЁ", "Буквы"),
        (b"5pmu6YCa6K+dOuS4reaWhw==", "普通话", "中文"),
    ],
)
def test_published_examples_are_read_and_written(token: bytes, username: str, password: str) -> None:
    """The examples of RFC 7617, Chromium and werkzeug are parsed correctly and written back unchanged."""
    user_pass = UserPass.from_token68(token)

    assert user_pass == UserPass(username, password)
    assert user_pass.to_token68() == token


def test_the_first_colon_ends_the_user_id() -> None:
    """A password may contain colons; a user-id may not."""
    assert UserPass.from_token68(b64encode(b"alice:a:b::")) == UserPass("alice", "a:b::")


@pytest.mark.parametrize(
    "token",
    [
        b"",  # the empty string has no colon
        b"YWxhZGRpbg==",
    ],
)
def test_a_user_pass_has_a_colon(token: bytes) -> None:
    """Without a colon, user-id and password cannot be separated."""
    assert _problem_of(token) == "no colon in the user-pass"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(b"YW5vbjo", id="no padding"),
        pytest.param(b"YW5vbjo==", id="too much padding"),
        pytest.param(b"Zm9vOmJhcg=", id="too little padding"),
        pytest.param(b"Zm9vOmJhcg==\n", id="a newline after it"),
        pytest.param(b"Zm9v\nOmJhcg==", id="a newline within"),
        pytest.param(b"Zm9v OmJhcg==", id="a space within"),
        pytest.param(b"Zm9v====OmJhcg==", id="padding within"),
        pytest.param(b"Zm9vOmJhcg==Zm9v", id="more after the padding"),
        pytest.param(b"Zm9vOmJhch==", id="unused bits that are not zero, of four"),
        pytest.param(b"YW5vbjp=", id="unused bits that are not zero, of two"),
        pytest.param(b"Og-=", id="a character of the URL alphabet"),
        pytest.param(b"YTo_", id="another character of the URL alphabet"),
        pytest.param(b"Zm9v.OmJhcg==", id="a character of no alphabet"),
        pytest.param(b"Z", id="a single character"),
        pytest.param(b"=", id="padding alone"),
        pytest.param(b"\xff\xfe", id="bytes outside ASCII"),
    ],
)
def test_each_user_pass_has_one_spelling(token: bytes) -> None:
    """Only padded base64 of RFC 4648 section 4 with zero unused bits is accepted; nothing is skipped or repaired."""
    assert _problem_of(token) == "not base64 as of RFC 4648 section 4"


@pytest.mark.rfc("7617-5")
@pytest.mark.parametrize(
    "user_pass", [b"\xffser:pass", b"user:p\xe4ss", b"user:\xed\xa0\x80", b"user:\xc0\xaf", b"u\xc3:x"]
)
def test_a_user_pass_is_utf_8(user_pass: bytes) -> None:
    """No other encoding is tried: ISO 8859-1, overlong forms and encoded surrogates are errors."""
    assert _problem_of(b64encode(user_pass)) == "the user-pass is not UTF-8"


@pytest.mark.rfc("7617-4")
@pytest.mark.parametrize("character", [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0))])
@pytest.mark.parametrize("template", ["al{}ice:secret", "alice:sec{}ret"])
def test_control_characters_are_refused(template: str, character: str) -> None:
    """RFC 7617 section 2: control characters are forbidden in user-id and password."""
    user_pass = template.format(character).encode()

    assert _problem_of(b64encode(user_pass)) == "a control character in the user-pass"


def test_text_is_compared_in_normal_form_c() -> None:
    """A client that sends decomposed umlauts authenticates as the same user."""
    decomposed = b64encode("ju\u0308rgen:pa\u0308ss".encode())

    assert UserPass.from_token68(decomposed) == UserPass("j\u00fcrgen", "p\u00e4ss")


def test_writing_normalises_too() -> None:
    """A decomposed and a composed name give the same token68."""
    assert UserPass("ju\u0308rgen", "x").to_token68() == UserPass("j\u00fcrgen", "x").to_token68()


def test_the_password_is_not_shown() -> None:
    """The repr shows only the user-id."""
    assert repr(UserPass("alice", "s3cret")) == "UserPass(username='alice')"


def test_a_user_id_with_a_colon_cannot_be_sent() -> None:
    """The server would read a shorter name, which is another user's."""
    with pytest.raises(ValueError, match="a user-id with a colon"):
        UserPass("a:b", "c").to_token68()


@pytest.mark.parametrize("user_pass", [UserPass("a\n", "b"), UserPass("a", "b\x7f"), UserPass("a", "\x85")])
def test_control_characters_cannot_be_sent(user_pass: UserPass) -> None:
    """``to_token68`` refuses what ``from_token68`` would refuse."""
    with pytest.raises(ValueError, match="must not contain control characters"):
        user_pass.to_token68()
