from __future__ import annotations

import binascii
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.wire.api_key import MAX_KEY, MAX_LABEL, TAIL_LENGTH, ApiKeyText, _checksum, is_key_id, is_label
from authguard.wire.grammar import WireError

# Made with this program, and its checksum by `_second_checksum` below.
KEY = b"acme_live_000000000abc_000000000000000000000000000"


def _second_checksum(text: bytes) -> bytes:
    """A CRC-32 in base62, by another way than the code: by the place value of each digit."""
    number, digits = binascii.crc32(text), ""
    for power in range(5, -1, -1):
        digit = number // 62**power % 62
        digits += (string.digits + string.ascii_uppercase + string.ascii_lowercase)[digit]
    return digits.encode()


def _problem_of(raw: bytes) -> str:
    with pytest.raises(WireError) as caught:
        ApiKeyText.parse(raw)
    assert caught.value.__context__ is None
    return caught.value.problem


def test_a_published_checksum_is_computed() -> None:
    """The example of a token in GitHub's documentation, ghp_zQWB..., ends in the checksum 0mLq17 of its random part."""
    assert _checksum(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ") == b"0mLq17"


def test_a_key_is_read_and_written() -> None:
    """The label is everything before the id, whatever underscores it has."""
    raw = KEY + _second_checksum(KEY)

    key = ApiKeyText.parse(raw)

    assert (key.label, key.id, key.text) == ("acme_live", "000000000abc", raw)
    assert ApiKeyText.write("acme_live", "000000000abc", "0" * 27) == key


def test_no_secret_is_shown() -> None:
    """The representation names the key by its label and its id."""
    key = ApiKeyText.parse(KEY + _second_checksum(KEY))

    assert repr(key) == "ApiKeyText(label='acme_live', id='000000000abc')"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "empty"),
        (b"x", "too short for a key"),
        (b"_000000000abc_" + b"0" * 33, "too short for a key"),
        (b"a" * (MAX_LABEL + 1) + b"_000000000abc_" + b"0" * 33, "too long for a key"),
        (b"k" * 65536, "too long for a key"),
        (b"Acme_000000000abc_" + b"0" * 33, "not PREFIX_ID_SECRET; it may be cut off"),
        (b"acme__live_000000000abc_" + b"0" * 33, "not PREFIX_ID_SECRET; it may be cut off"),
        (b"acme_000000000ab-_" + b"0" * 33, "not PREFIX_ID_SECRET; it may be cut off"),
        (b"acme_000000000abc-" + b"0" * 33, "not PREFIX_ID_SECRET; it may be cut off"),
        (b"acme_000000000abc_" + b"0" * 32 + b"\n", "not PREFIX_ID_SECRET; it may be cut off"),
        (b"acme_000000000abc_" + "ä".encode() * 16 + b"0", "not PREFIX_ID_SECRET; it may be cut off"),
        (KEY + b"000000", "the checksum differs: a character is wrong or missing"),
        (b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJl", "not PREFIX_ID_SECRET; it may be cut off"),
    ],
)
def test_anything_else_is_no_key(raw: bytes, problem: str) -> None:
    """Garbage is refused with a phrase that quotes nothing of it."""
    assert _problem_of(raw) == problem


@given(raw=st.binary(max_size=MAX_KEY + 2))
def test_no_bytes_are_read_by_chance(raw: bytes) -> None:
    """Whatever is sent is a key that is written back the same, or a WireError."""
    try:
        key = ApiKeyText.parse(raw)
    except WireError:
        return
    assert key.text == raw


@given(place=st.integers(0, len(KEY) + 5), character=st.sampled_from(string.ascii_letters + string.digits + "_"))
def test_one_wrong_character_is_found(place: int, character: str) -> None:
    """A CRC-32 finds every error of one character, in the checksum too."""
    raw = bytearray(KEY + _second_checksum(KEY))
    if raw[place] == ord(character):
        return
    raw[place] = ord(character)

    assert _problem_of(bytes(raw))


@pytest.mark.parametrize(
    ("label", "is_one"),
    [
        *(("acme", True), ("a1_b2", True), ("", False), ("1acme", False), ("acme_", False), ("a-b", False)),
        *(("ä", False), ("a" * MAX_LABEL, True), ("a" * (MAX_LABEL + 1), False)),
    ],
)
def test_a_label_is_words_in_lower_case(label: str, is_one: bool) -> None:
    """It begins with a letter, and has at most 40 characters."""
    assert is_label(label) is is_one


@pytest.mark.parametrize("key_id", ["000000000ab", "000000000abcd", "000000000ab_", "000000000abä"])
def test_an_id_has_twelve_letters_and_digits(key_id: str) -> None:
    """Anything else is none."""
    assert not is_key_id(key_id)


def test_the_tail_has_its_length() -> None:
    """The label ends where the tail begins, so its length must be that of the pattern."""
    assert len(KEY + b"000000") - len("acme_live") == TAIL_LENGTH
