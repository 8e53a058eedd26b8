"""Unicode normalisation of names and passwords, and the limit on combining marks."""

from __future__ import annotations

import unicodedata
from base64 import b64encode

import pytest

from authguard.wire.basic import UserPass
from authguard.wire.digest import DigestCredentials
from authguard.wire.grammar import WireError
from authguard.wire.text import nfc

# Marks of two combining classes in descending order: sorting them is the expensive part of normalisation.
DESCENDING = "\u0301" * 2000 + "\u0316" * 2000


@pytest.mark.parametrize(
    "text", ["", "alice", "zoe\u0308", "a" + "\u0301" * 30, "\uac00\u0301 \u0e33", "\u0301a" * 2000]
)
def test_text_is_composed(text: str) -> None:
    """The result is NFC, whatever the length of the text."""
    assert nfc(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", ["a" + "\u0301" * 129, "a" + DESCENDING])
def test_a_letter_has_no_more_marks_than_any_language_writes(text: str) -> None:
    """More than 128 marks in a row are refused before they are sorted."""
    with pytest.raises(WireError, match="128 combining marks"):
        nfc(text)


def test_the_limit_holds_for_basic_and_digest() -> None:
    """Both parsers refuse such a username, and the error quotes none of it."""
    digest = 'username="{}", realm="r", nonce="n", uri="/", response="{}", qop=auth, cnonce="c", nc=00000001'
    for parse, data in (
        (UserPass.from_token68, b64encode(f"alice:{DESCENDING}".encode())),
        (DigestCredentials.from_auth_params, digest.format(DESCENDING, "0" * 64).encode()),
    ):
        with pytest.raises(WireError) as caught:
            parse(data)
        assert caught.value.problem == "more than 128 combining marks in a row"
