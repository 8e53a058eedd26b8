"""``authguard secret``: random secrets for Digest and for HMAC."""

from __future__ import annotations

import base64
import re

import pytest

from authguard import Digest, MemoryDigests, Secret
from tests.cli.programs import run


def _secret(capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed, without its line feed."""
    assert run("secret") == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.removesuffix("\n")


def test_a_secret_has_64_random_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    """It needs no quotes in a shell and no escapes in a file, and no two are the same."""
    first, second = _secret(capsys), _secret(capsys)

    assert re.fullmatch(r"[A-Za-z0-9_-]{86}", first)
    assert len(base64.urlsafe_b64decode(first + "==")) == 64
    assert first != second


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_it_is_enough_for_hmac(algorithm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``Secret(...)`` accepts it for each of its algorithms."""
    (key,) = Secret(_secret(capsys)).bind(frozenset({algorithm}))

    assert key.algorithm == algorithm


def test_it_is_enough_for_digest(capsys: pytest.CaptureFixture[str]) -> None:
    """``Digest(...)`` accepts it as the secret of its nonces."""
    store = MemoryDigests.of_cleartext({"alice": "wonderland"}, realm="orders")

    assert Digest(store, realm="orders", secret=_secret(capsys)).auth_scheme == "digest"
