"""The last uses beside a file of keys: each worker writes its own part, a line in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authguard.accounts import api_key_last_uses, file_lock
from authguard.accounts.api_key_last_uses import LINE_LENGTH, LastUsePart, read_last_uses
from authguard.errors import BackendUnavailable

A, B, C = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"
KNOWN = {A, B, C}


def parts(folder: Path) -> dict[str, bytes]:
    """The files beside the keys, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_line_is_written_in_its_place(tmp_path: Path) -> None:
    """A key has one line, however often it is written."""
    part = LastUsePart(tmp_path / "keys")
    part.write({A: 5.0, B: 1_800_000_000.9}, KNOWN)
    part.write({B: 1_800_000_060.0, C: 7.0}, KNOWN)

    assert parts(tmp_path) == {
        "keys.uses.1": b"aaaaaaaaaaaa 0000000005\nbbbbbbbbbbbb 1800000060\ncccccccccccc 0000000007\n"
    }
    assert read_last_uses(tmp_path / "keys") == {A: 5.0, B: 1_800_000_060.0, C: 7.0}


def test_each_worker_has_its_own_part(tmp_path: Path) -> None:
    """The latest time of all parts is the last use."""
    first, second = LastUsePart(tmp_path / "keys"), LastUsePart(tmp_path / "keys")
    first.write({A: 10.0, B: 20.0}, KNOWN)
    second.write({A: 15.0, B: 5.0}, KNOWN)

    assert list(parts(tmp_path)) == ["keys.uses.1", "keys.uses.2"]
    assert read_last_uses(tmp_path / "keys") == {A: 15.0, B: 20.0}


def test_a_worker_goes_on_with_the_part_of_one_that_has_ended(tmp_path: Path) -> None:
    """What it holds stays, but for keys that are gone and for lines that cannot be read."""
    (tmp_path / "keys.uses.1").write_bytes(
        b"aaaaaaaaaaaa 0000000001\nzzzzzzzzzzzz 0000000002\nbbbbbbbbbbbb 00000000x3\ncccccccccccc 0000000004\ncccc"
    )

    LastUsePart(tmp_path / "keys").write({B: 9.0}, KNOWN)

    assert parts(tmp_path) == {
        "keys.uses.1": b"aaaaaaaaaaaa 0000000001\ncccccccccccc 0000000004\nbbbbbbbbbbbb 0000000009\n"
    }


def test_a_part_that_was_removed_is_taken_anew(tmp_path: Path) -> None:
    """What is written afterwards is not lost."""
    part = LastUsePart(tmp_path / "keys")
    part.write({A: 1.0}, KNOWN)
    (tmp_path / "keys.uses.1").unlink()

    part.write({A: 2.0}, KNOWN)

    assert read_last_uses(tmp_path / "keys") == {A: 2.0}


def test_garbage_is_left_out(tmp_path: Path) -> None:
    """The list of keys does not fail because of it."""
    (tmp_path / "keys.uses.1").write_bytes(b"\xff" * 100)
    (tmp_path / "keys.uses.2").mkdir()
    (tmp_path / "keys.uses.3").write_bytes(b"aaaaaaaaaaaa 0000000001\n")

    assert read_last_uses(tmp_path / "keys") == {A: 1.0}


def test_a_part_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a key that is in use would look unused, and somebody would revoke it."""
    (tmp_path / "keys.uses.1").write_bytes(b"")

    def refuse(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        read_last_uses(tmp_path / "keys")


def test_a_child_takes_a_part_of_its_own(tmp_path: Path) -> None:
    """The lock of the parent is that of the parent, also in a forked child."""
    part = LastUsePart(tmp_path / "keys")
    part.write({A: 1.0}, KNOWN)
    child = os.fork()
    if not child:
        part.write({A: 2.0}, KNOWN)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    part.write({B: 3.0}, KNOWN)

    assert parts(tmp_path) == {
        "keys.uses.1": b"aaaaaaaaaaaa 0000000001\nbbbbbbbbbbbb 0000000003\n",
        "keys.uses.2": b"aaaaaaaaaaaa 0000000002\n",
    }


def test_a_closed_file_does_not_fail_in_a_child(tmp_path: Path) -> None:
    """Whatever the parent has done with it."""
    part = LastUsePart(tmp_path / "keys")
    part.write({A: 1.0}, KNOWN)
    assert part._file is not None
    os.close(part._file)

    part.renew()
    part.write({A: 2.0}, KNOWN)

    assert read_last_uses(tmp_path / "keys") == {A: 2.0}


def test_a_part_that_was_not_taken_has_nothing_to_leave(tmp_path: Path) -> None:
    """A child that was forked before the first use takes the first part."""
    part = LastUsePart(tmp_path / "keys")

    part.renew()
    part.write({A: 1.0}, KNOWN)

    assert list(parts(tmp_path)) == ["keys.uses.1"]


def test_the_number_of_parts_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker too many is told, and its keys are good all the same."""
    monkeypatch.setattr(api_key_last_uses, "MOST_PARTS", 2)
    workers = [LastUsePart(tmp_path / "keys") for _ in range(3)]
    for worker in workers[:2]:
        worker.write({A: 1.0}, KNOWN)

    with pytest.raises(BackendUnavailable, match="more than 2 workers"):
        workers[2].write({A: 1.0}, KNOWN)


def test_a_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers would write one part."""
    monkeypatch.setattr(file_lock, "_fcntl", None)

    with pytest.raises(BackendUnavailable, match="no flock"):
        LastUsePart(tmp_path / "keys").write({A: 1.0}, KNOWN)


def test_a_line_has_its_length(tmp_path: Path) -> None:
    """So that its place is a multiple of it, whatever the clock says."""
    LastUsePart(tmp_path / "keys").write({A: 1.0, B: -5.0, C: 1e12}, KNOWN)

    assert (tmp_path / "keys.uses.1").stat().st_size == 3 * LINE_LENGTH
    assert read_last_uses(tmp_path / "keys") == {A: 1.0, B: 0.0, C: 9_999_999_999.0}
