"""``HtpasswdFile`` and Apache's own htpasswd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from authguard.accounts.account import Verdict
from authguard.accounts.htpasswd import HtpasswdFile
from authguard.accounts.password_hashes import BY_NAME, LibpassHasher
from authguard.accounts.watched_file import CHECK_INTERVAL, INCOMPLETE_FOR
from authguard.testing import ManualClock

HTPASSWD = shutil.which("htpasswd")

pytestmark = [pytest.mark.peer, pytest.mark.skipif(HTPASSWD is None, reason="htpasswd is not here")]

FLAGS = {
    "bcrypt": ["-B"],
    "bcrypt at 4": ["-B", "-C", "4"],
    "apr1": ["-m"],
    "SHA-256": ["-2"],
    "SHA-512": ["-5"],
    "SHA-512 with rounds": ["-5", "-r", "1234"],
    "SHA": ["-s"],
    "DES crypt": ["-d"],
}
PASSWORDS = ["pässwörd: 日本", "x" * 72, "$HOME", " "]


def _run(*arguments: str) -> int:
    assert HTPASSWD is not None
    return subprocess.run([HTPASSWD, *arguments], check=False, capture_output=True, timeout=300).returncode


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_we_and_apaches_tool_agree_on_every_password(tmp_path: Path, flags: list[str]) -> None:
    """Hashes of the installed htpasswd are verified here, with the results of its ``-v``."""
    path = tmp_path / "users"
    for number, password in enumerate(PASSWORDS):
        assert _run("-b", *flags, *(["-c"] if number == 0 else []), str(path), f"user{number}", password) == 0
    store = HtpasswdFile(path, hasher=LibpassHasher(allow=BY_NAME))
    ours, theirs = [], []

    for number, password in enumerate(PASSWORDS):
        account = anyio.run(store.find, f"user{number}")
        assert account is not None
        for given in (password, "~" + password[1:], password.upper() + "x"):
            verdict = store.hasher.verify(given, account.password_hash)
            if verdict is not Verdict.TOO_LONG:  # authguard is stricter here
                ours.append(verdict is Verdict.MATCH)
                theirs.append(_run("-bv", str(path), f"user{number}", given) == 0)

    assert ours == theirs
    assert ours.count(True) >= len(PASSWORDS)
    assert ours.count(False) >= len(PASSWORDS)


def test_apaches_tool_reads_what_we_write(tmp_path: Path) -> None:
    """Apache's htpasswd accepts a file whose hashes were renewed here with bcrypt."""
    path = tmp_path / "users"
    stored = LibpassHasher(makes="bcrypt").hash("correct horse")
    path.write_text(f"alice:{stored}\n")

    assert _run("-bv", str(path), "alice", "correct horse") == 0
    assert _run("-bv", str(path), "alice", "wrong") != 0


async def test_changes_of_apaches_tool_are_noticed(tmp_path: Path) -> None:
    """A user that htpasswd adds, changes or deletes is noticed after two looks; a removal counts five seconds later."""
    path, clock = tmp_path / "users", ManualClock(1000)
    assert _run("-bcm", str(path), "alice", "a") == 0
    store = HtpasswdFile(path, clock=clock)

    async def look(username: str, password: str) -> Verdict | None:
        clock.move(CHECK_INTERVAL)
        await store.find(username)
        clock.move(CHECK_INTERVAL)
        account = await store.find(username)
        return None if account is None else store.hasher.verify(password, account.password_hash)

    assert await look("bob", "b") is None
    assert _run("-bs", str(path), "bob", "b") == 0
    assert await look("bob", "b") is Verdict.MATCH
    assert _run("-bs", str(path), "bob", "changed") == 0
    assert await look("bob", "b") is Verdict.WRONG
    assert await look("bob", "changed") is Verdict.MATCH
    assert _run("-D", str(path), "bob") == 0
    await look("bob", "changed")
    clock.move(INCOMPLETE_FOR)
    assert await look("bob", "changed") is None
    assert await look("alice", "a") is Verdict.MATCH
