"""Names and passwords as text: one form of each, and no work that a stranger could make grow."""

from __future__ import annotations

import unicodedata
from base64 import b64encode

import pytest

from authguard.wire.basic import UserPass
from authguard.wire.digest import DigestCredentials
from authguard.wire.grammar import WireError
from authguard.wire.text import nfc

# Marks of two classes, the higher before the lower: putting them in order is what takes long.
FALLING = "\u0301" * 2000 + "\u0316" * 2000


@pytest.mark.parametrize(
    "text", ["", "alice", "zoe\u0308", "a" + "\u0301" * 30, "\uac00\u0301 \u0e33", "\u0301a" * 2000]
)
def test_text_is_composed(text: str) -> None:
    """However long it is; a letter may have 128 marks."""
    assert nfc(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", ["a" + "\u0301" * 129, "a" + FALLING])
def test_a_letter_has_no_more_marks_than_any_language_writes(text: str) -> None:
    """They are refused before anything puts them in order."""
    with pytest.raises(WireError, match="128 combining marks"):
        nfc(text)


def test_no_credentials_have_more_either() -> None:
    """Neither those of Basic nor those of Digest, and nothing of them is told."""
    digest = 'username="{}", realm="r", nonce="n", uri="/", response="{}", qop=auth, cnonce="c", nc=00000001'
    for read, octets in (
        (UserPass.from_token68, b64encode(f"alice:{FALLING}".encode())),
        (DigestCredentials.from_auth_params, digest.format(FALLING, "0" * 64).encode()),
    ):
        with pytest.raises(WireError) as caught:
            read(octets)
        assert caught.value.problem == "more than 128 combining marks in a row"
