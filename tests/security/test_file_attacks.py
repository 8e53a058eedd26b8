"""Attacks by somebody who can write into the folder of a file of keys: links and pipes in the place of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authguard import BackendUnavailable
from authguard.accounts.api_key_file import ApiKeyFileAdmin
from authguard.accounts.api_key_last_uses import LastUsePart, read_last_uses
from authguard.accounts.revocation_file import RevocationFileAdmin
from authguard.state.revocations import Revocation
from tests.support.clock import NOW
from tests.support.schemes.api_key import KEY_ID, stored_key

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files of keys need a POSIX system")


async def test_a_link_in_place_of_the_lock_of_keys_makes_no_file(tmp_path: Path) -> None:
    """An operator who makes a key does not make a file where the link leads."""
    (tmp_path / "keys.json.lock").symlink_to(tmp_path / "nologin")

    with pytest.raises(BackendUnavailable):
        await ApiKeyFileAdmin(tmp_path / "keys.json").add(stored_key())

    assert not (tmp_path / "nologin").exists()


def test_a_link_in_place_of_the_lock_of_revocations_makes_no_file(tmp_path: Path) -> None:
    """An operator who revokes does not make a file where the link leads."""
    (tmp_path / "revoked.json.lock").symlink_to(tmp_path / "nologin")

    with pytest.raises(BackendUnavailable):
        RevocationFileAdmin(tmp_path / "revoked.json").revoke(Revocation.token("1", expires_at=NOW))

    assert not (tmp_path / "nologin").exists()


def test_a_link_in_place_of_the_last_uses_overwrites_no_file(tmp_path: Path) -> None:
    """The worker leaves the file as it is where the link leads."""
    (tmp_path / "other").write_bytes(b"the file of somebody else")
    (tmp_path / "keys.json.uses.1").symlink_to(tmp_path / "other")

    with pytest.raises(OSError, match=r"keys\.json\.uses\.1"):
        LastUsePart(tmp_path / "keys.json").write({KEY_ID: NOW}, {KEY_ID})

    assert (tmp_path / "other").read_bytes() == b"the file of somebody else"


def test_the_list_of_keys_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    """Nor does it follow a link in the place of the last uses."""
    os.mkfifo(tmp_path / "keys.json.uses.1")
    (tmp_path / "other").write_bytes(f"{KEY_ID} 1800000000\n".encode())
    (tmp_path / "keys.json.uses.2").symlink_to(tmp_path / "other")

    assert read_last_uses(tmp_path / "keys.json") == {}
