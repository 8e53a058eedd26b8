"""``HtdigestFile`` and Apache's own htdigest."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from authguard.accounts.digest_account import DigestAccount, digest_ha1
from authguard.accounts.htdigest import HtdigestFile, htdigest_line
from authguard.accounts.watched_file import CHECK_INTERVAL, INCOMPLETE_FOR
from authguard.testing import ManualClock

HTDIGEST = shutil.which("htdigest")

pytestmark = [pytest.mark.peer, pytest.mark.skipif(HTDIGEST is None, reason="htdigest is not here")]

USERS = [
    ("orders", "alice", "correct horse"),
    ("caf\u00e9 \u0394", "am\u00e9lie", "p\u00e4ssw\u00f6rd: \u65e5\u672c"),
    ("two words @ example.com", "two words", "$HOME"),
    ("orders", 'o"hara\\', "x" * 72),
    ("orders", "\u65e5\u672c", " "),
]


def _run(path: Path, realm: str, name: str, password: str) -> None:
    """Run htdigest with the password typed twice."""
    assert HTDIGEST is not None
    typed = f"{password}\n{password}\n".encode()
    create = [] if path.exists() else ["-c"]
    subprocess.run(
        [HTDIGEST, *create, str(path), realm, name], input=typed, check=True, capture_output=True, timeout=300
    )


async def test_we_read_and_write_what_apaches_tool_does(tmp_path: Path) -> None:
    """A file of the installed htdigest is read, its digests are those of authguard, and so are its lines."""
    path = tmp_path / "users"
    for realm, name, password in USERS:
        _run(path, realm, name, password)

    store = HtdigestFile(path)

    for realm, name, password in USERS:
        account = await store.find(name, realm=realm, algorithm="MD5", hashed=False)
        assert account == DigestAccount(name, digest_ha1(name, realm, password, "MD5"))
    lines = [htdigest_line(name, realm, password, "MD5") for realm, name, password in USERS]
    assert path.read_text(encoding="utf-8").splitlines() == lines


async def test_apaches_tool_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    """Apache's htdigest keeps lines of SHA-256 while it changes others, and may replace one by its own. Two looks
    notice it."""
    path, clock = tmp_path / "users", ManualClock(1000)
    line = htdigest_line("alice", "orders", "correct horse")
    path.write_text(f"{line}\n")
    store = HtdigestFile(path, clock=clock)

    async def look(algorithm: str) -> DigestAccount | None:
        for _ in range(2):
            clock.move(CHECK_INTERVAL)
            await store.find("alice", realm="orders", algorithm=algorithm, hashed=False)
        return await store.find("alice", realm="orders", algorithm=algorithm, hashed=False)

    assert await look("MD5") is None
    _run(path, "billing", "alice", "battery staple")
    _run(path, "orders", "bob", "battery staple")
    assert await look("SHA-256") == DigestAccount("alice", line.rpartition(":")[2])
    assert store.realms_held() == {("orders", "SHA-256"), ("billing", "MD5"), ("orders", "MD5")}
    _run(path, "orders", "alice", "battery staple")
    assert await look("MD5") == DigestAccount("alice", digest_ha1("alice", "orders", "battery staple", "MD5"))
    clock.move(INCOMPLETE_FOR)  # so long a line that was removed in place is still valid
    assert await look("SHA-256") is None
