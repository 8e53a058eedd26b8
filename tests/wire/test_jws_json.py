"""The JSON of a token: one reading, or none."""

from __future__ import annotations

import math

import pytest

from authguard.wire.grammar import WireError
from authguard.wire.jws import MAX_DEPTH, parse
from tests.wire.tokens import compact

# Values that JSON readers differ on (RFC 8259), and whether a token may bring them. Written for this file.
TAKEN = [
    b"{}",
    b'{"":0}',
    b"-0",
    b"1E+2",
    b"123.456e-7",
    b'"\\u0000"',
    b'"\\ud83d\\ude00"',
    b'"\xef\xbf\xbf"',
    b'"\x7f"',
    b'"\\/\\b\\f"',
    b"[ ]",
    b"[1\n,\t2]",
]
REFUSED = [
    b"",
    b"+1",
    b"01",
    b".5",
    b"5.",
    b"1e",
    b"0x1",
    b"Infinity",
    b"-Infinity",
    b"NaN",
    b"TRUE",
    b"nul",
    b"'a'",
    b'"\t"',
    b'"\x00"',
    b'"\\x41"',
    b'"\\u12"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\xff"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"[1",
    b'{"a":1,}',
    b"{a:1}",
    b'{"a" 1}',
    b'{"a":1,"a":1}',
    b"1/**/",
    b"1 //",
    b"\xef\xbb\xbf1",
    b"\x0c1",
]


def _problem_of(token: bytes) -> str:
    with pytest.raises(WireError) as caught:
        parse(token)
    assert caught.value.__context__ is None  # a JSON or codec error would hold the claims
    return caught.value.problem


def _nested(depth: int) -> bytes:
    """A payload with objects and arrays in each other, so many in all."""
    levels = [(b'{"a":', b"}"), (b"[", b"]")] * depth
    opening = [opening for opening, _ in levels[: depth - 1]]
    closing = [closing for _, closing in levels[: depth - 1]]
    return b"".join([b'{"a":', *opening[1:], b"[", b"]", *reversed(closing[1:]), b"}"])


@pytest.mark.parametrize("value", TAKEN)
def test_a_value_with_one_reading_is_taken(value: bytes) -> None:
    """Whatever RFC 8259 allows and UTF-8 can say may stand in a token."""
    assert parse(compact(payload=b'{"v":' + value + b"}")).claims.keys() == {"v"}


@pytest.mark.parametrize("value", REFUSED)
def test_a_value_that_only_some_readers_take_is_refused(value: bytes) -> None:
    """What JSON readers differ on has no reading here."""
    with pytest.raises(WireError):
        parse(compact(payload=b'{"v":' + value + b"}"))


@pytest.mark.parametrize("payload", [b"", b"[]", b'"a"', b"1", b"null", b"true", b"{}{}", b"{} x", b"{", b"}", b"foo"])
def test_claims_are_one_object(payload: bytes) -> None:
    """Neither another JSON value nor anything after the object will do, in the claims and in the header."""
    assert _problem_of(compact(payload=payload)) == "not a JSON object in UTF-8"
    assert _problem_of(compact(header=payload)) == "not a JSON object in UTF-8"


@pytest.mark.rfc("8725-7")
@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"]
)
def test_json_is_in_utf_8_without_a_byte_order_mark(encoding: str) -> None:
    """The encoding is not guessed at, as ``json.loads`` would."""
    assert _problem_of(compact(payload='{"sub":"alice"}'.encode(encoding))) == "not a JSON object in UTF-8"


def test_whitespace_round_an_object_is_json() -> None:
    """The four characters that JSON calls whitespace may stand before and after it, and no others."""
    assert parse(compact(payload=b' \t\r\n{"a" : 1}\n')).claims == {"a": 1}
    assert _problem_of(compact(payload=b"\x0b{}")) == "not a JSON object in UTF-8"
    assert _problem_of(compact(payload=b"{}\xc2\xa0")) == "not a JSON object in UTF-8"


@pytest.mark.rfc("7519-2")
@pytest.mark.parametrize(
    "payload",
    [
        b'{"sub":"a","sub":"b"}',
        b'{"sub":"a","sub":"a"}',
        b'{"sub":"a","s\\u0075b":"b"}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[[{"b":1,"c":2,"b":3}]]}',
        b'{"":1,"":2}',
    ],
)
def test_no_name_stands_twice_at_any_depth(payload: bytes) -> None:
    """However it is spelt, and however deep it stands."""
    assert _problem_of(compact(payload=payload)) == "duplicate member"


@pytest.mark.rfc("7515-2")
def test_no_name_stands_twice_in_a_header() -> None:
    """Two algorithms are no algorithm."""
    assert _problem_of(compact(header=b'{"alg":"none","alg":"RS256"}')) == "duplicate member"


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(constant: bytes) -> None:
    """Python's reader takes them, ours does not."""
    assert _problem_of(compact(payload=b'{"exp":' + constant + b"}")) == "NaN or Infinity, which JSON does not have"


def test_a_number_beyond_a_float_is_infinite() -> None:
    """It is JSON; whoever compares it with a clock has to refuse it."""
    assert parse(compact(payload=b'{"exp":1e400}')).claims == {"exp": math.inf}


@pytest.mark.parametrize("digits", [4301, 5000])
def test_a_number_of_too_many_digits_is_refused(digits: int) -> None:
    """The interpreter's own limit on digits comes out as ours."""
    assert _problem_of(compact(payload=b'{"exp":' + b"9" * digits + b"}")) == "not a JSON object in UTF-8"


@pytest.mark.rfc("8725-7")
@pytest.mark.parametrize(
    ("payload", "accepted"),
    [
        (rb'{"a":"\ud800"}', False),
        (rb'{"a":"\uD83D"}', False),
        (rb'{"a":"\udc00\ud800"}', False),
        (rb'{"\udfff":1}', False),
        (rb'{"a":[{"b":"x\uDBFF"}]}', False),
        (rb'{"a":"\ud83d\ude39"}', True),
        (rb'{"a":"\\ud800"}', True),
        (rb'{"a":"\ud7ff\ue000"}', True),
    ],
)
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(payload: bytes, accepted: bool) -> None:
    """Such a string cannot be logged, compared or stored as UTF-8; pairs and escaped backslashes are well."""
    token = compact(payload=payload)

    if accepted:
        assert parse(token).claims
    else:
        assert _problem_of(token) == "not a JSON object in UTF-8"


@pytest.mark.rfc("limits-2")
def test_nesting_is_read_to_the_limit_and_no_deeper() -> None:
    """Objects and arrays count alike, the outermost one too."""
    assert parse(compact(payload=_nested(32))).claims
    assert _problem_of(compact(payload=_nested(33))) == "nested too deeply"


def _at_depth(frames: int, token: bytes) -> str:
    return _problem_of(token) if frames == 0 else _at_depth(frames - 1, token)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 2500])
@pytest.mark.parametrize("frames", [0, 700])
def test_the_limit_on_nesting_is_ours(depth: int, frames: int) -> None:
    """How deep in the app the guard was called makes no difference to what it says."""
    assert (
        _at_depth(frames, compact(payload=b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"))
        == "nested too deeply"
    )


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"a":[' + b"[],{}," * 500 + b"1]}", id="broad, not deep"),
        pytest.param(b'{"a":"' + b"[" * 3000 + b'"}', id="brackets in a string"),
        pytest.param(b'{"a":"' + b'\\"[' * 1500 + b'"}', id="brackets after escaped quotes"),
        pytest.param(b'{"' + b"{\\\\" * 1500 + b'":1}', id="brackets in a name, between backslashes"),
    ],
)
def test_brackets_that_do_not_nest_do_not_count(payload: bytes) -> None:
    """Many brackets are looked at more closely, and what stands in a string is no bracket."""
    assert parse(compact(payload=payload)).claims


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"a":"x' + b"[" * 40, id="a string without an end"),
        pytest.param(b'{"a":"x' + b"[" * 40 + b"\\", id="a string that ends with a backslash"),
        pytest.param(b"]" * 40 + b"[" * 40, id="closed before it is opened"),
        pytest.param(b'{"a":' + b"[}" * 40 + b"}", id="pairs that do not fit"),
    ],
)
def test_brackets_in_what_is_no_json_are_refused_as_no_json(payload: bytes) -> None:
    """The closer look judges depth alone."""
    assert _problem_of(compact(payload=payload)) == "not a JSON object in UTF-8"
