"""The file of revocations: what the command writes, the app reads, and never a part of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard import BackendUnavailable, ConfigurationError, Revocation, RevocationFile
from authguard.accounts import revocation_file
from authguard.accounts.revocation_file import (
    RevocationFileAdmin,
    StoredRevocation,
    parse_revocations,
    write_revocations,
)
from authguard.accounts.watched_file import BadFile
from authguard.concurrency.slices import at_once
from authguard.testing import ManualClock
from tests.support.asgi import RecordingApp
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

ALICE = Revocation.subject("alice", before=NOW - 5, expires_at=NOW + 60)
SESSION = Revocation.session("s-1", expires_at=NOW + 60)
KEY = Revocation.api_key("abc", expires_at=math.inf)


def admin(folder: Path, clock: ManualClock | None = None) -> RevocationFileAdmin:
    """The command for a file in this folder."""
    return RevocationFileAdmin(folder / "revoked.json", clock=clock or ManualClock(NOW))


async def test_what_the_command_enters_the_app_refuses_after_its_next_look(tmp_path: Path) -> None:
    """A look is due every half second; until then the store answers at once with what it has read."""
    command, ticks = admin(tmp_path), ManualClock(1000)
    made = [command.make(), command.make()]
    store = RevocationFile(tmp_path / "revoked.json", clock=ticks)
    before = store.find_now([ALICE.key])
    command.revoke(ALICE)
    ticks.move(0.4)
    cached = store.find_now([ALICE.key])
    ticks.move(0.2)
    due = store.find_now([ALICE.key])
    await store.find([ALICE.key])  # it has changed a moment ago, and is read once it has settled
    ticks.move(1)

    assert (made, before, cached, due) == ([True, False], {}, {}, None)
    assert await store.find([ALICE.key, SESSION.key]) == {ALICE.key: NOW - 5}
    assert store.find_now([ALICE.key]) == {ALICE.key: NOW - 5}


async def test_a_file_that_is_gone_is_an_outage_after_five_minutes(tmp_path: Path) -> None:
    """Nobody passes because the file was deleted: what it said holds for five minutes, and then nothing is known."""
    command, ticks = admin(tmp_path), ManualClock(1000)
    command.revoke(KEY)
    store = RevocationFile(tmp_path / "revoked.json", clock=ticks)
    (tmp_path / "revoked.json").unlink()
    ticks.move(1)

    assert await store.find([KEY.key]) == {KEY.key: math.inf}
    ticks.move(300)
    with pytest.raises(BackendUnavailable):
        await store.find([KEY.key])


def test_the_file_has_no_id_of_a_session_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """The id of a session may be as good as a password, so the file has a hash of it."""
    command = admin(tmp_path)
    command.revoke(SESSION)
    command.revoke(ALICE)
    path = tmp_path / "revoked.json"

    assert b"s-1" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [(each.kind, each.name) for each in command.revocations()] == [("session", None), ("subject", "alice")]


def test_a_second_revocation_takes_nothing_back(tmp_path: Path) -> None:
    """The later time holds, whichever was entered last."""
    command = admin(tmp_path)
    command.revoke(ALICE)
    command.revoke(Revocation.subject("alice", before=NOW - 50, expires_at=NOW + 90))
    (stored,) = command.revocations()

    assert (stored.before, stored.expires_at) == (NOW - 5, NOW + 90)


def test_what_has_ended_is_left_out_a_day_later(tmp_path: Path) -> None:
    """A change leaves out what has ended, and a clock that is wrong by some hours makes nothing good again."""
    clock = ManualClock(NOW)
    command = admin(tmp_path, clock)
    for revocation in (ALICE, SESSION, KEY):
        command.revoke(revocation)
    clock.move(86_400)
    first = command.prune()
    clock.move(700)

    assert (first, command.prune()) == (0, 2)
    assert [each.key for each in command.revocations()] == [KEY.key]


def test_a_full_file_refuses_and_keeps_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has as many as it may have takes no more, and what is there stays."""
    monkeypatch.setattr(revocation_file, "MOST", 2)
    command = admin(tmp_path)
    command.revoke(ALICE)
    command.revoke(SESSION)
    with pytest.raises(BackendUnavailable, match="full"):
        command.revoke(KEY)
    command.revoke(ALICE)

    assert len(command.revocations()) == 2


def test_commands_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Each change holds the lock, so that several commands enter all that they were given."""

    def enter(name: str) -> None:
        for index in range(10):
            admin(tmp_path).revoke(Revocation.token(f"{name}{index}", expires_at=NOW))

    threads = [threading.Thread(target=enter, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(admin(tmp_path).revocations()) == 40


def _read(content: bytes) -> Sequence[StoredRevocation]:
    return list(at_once(parse_revocations(content)).values())


_TIMES = st.floats(0, 1e12)
_KINDS = st.sampled_from(["token", "session", "api_key", "subject"])


@given(st.lists(st.builds(Revocation, _KINDS, st.text(min_size=1), _TIMES | st.just(math.inf), _TIMES), max_size=450))
def test_what_is_written_is_read(revocations: list[Revocation]) -> None:
    """All of a revocation comes back, but for the id of a session."""
    stored = {each.key: StoredRevocation.of(each, NOW) for each in revocations}

    assert _read(write_revocations(stored.values())) == list(stored.values())


def test_no_part_of_a_file_is_read() -> None:
    """A file that was cut off anywhere, or lost a line, is bad: what it lacks would be good again."""
    content = write_revocations([StoredRevocation.of(each, NOW) for each in (ALICE, SESSION, KEY)])
    lines = content.splitlines(keepends=True)
    torn = [content[:end] for end in range(len(content))] + [b"".join([*lines[:3], *lines[4:]]), content + b"7"]

    for part in torn:
        with pytest.raises(BadFile):
            _read(part)
    assert len(_read(content)) == 3


@pytest.mark.parametrize(
    "line",
    [
        b"7",
        b"{",
        b'{"kind": "user", "name": "alice", "revoked": 1}',
        b'{"kind": "token", "name": "", "revoked": 1}',
        b'{"kind": "token", "name": "t", "revoked": "1"}',
        b'{"kind": "subject", "name": "alice", "revoked": 1}',
        b'{"kind": "session", "key": "00", "revoked": 1}',
        b'{"kind": "session", "key": "zz", "revoked": 1}',
    ],
    ids=str,
)
def test_a_bad_line_is_named_and_not_quoted(line: bytes) -> None:
    """A line that is no revocation makes the file bad, and the message has its number alone."""
    content = write_revocations([]).replace(b"[\n", b"[\n" + line + b"\n")
    with pytest.raises(BadFile, match=r"^line 2 is no revocation$"):
        _read(content)


def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path) -> None:
    """A command with the wrong file changes nothing, and says what is wrong."""
    path = tmp_path / "revoked.json"
    path.write_text("alice:secret\n")
    with pytest.raises(ConfigurationError, match="not a file of"):
        admin(tmp_path).revoke(ALICE)

    assert path.read_text() == "alice:secret\n"
    with pytest.raises(BackendUnavailable):
        RevocationFileAdmin(tmp_path).revocations()
    with pytest.raises(BackendUnavailable):
        RevocationFileAdmin(tmp_path / "none" / "revoked.json").revoke(ALICE)


def test_a_long_file_is_read_in_slices() -> None:
    """Other threads run while a file of many lines is read."""
    stored = [StoredRevocation.of(Revocation.token(f"t-{index}", expires_at=NOW), NOW) for index in range(1000)]
    slices = list(parse_revocations(write_revocations(stored)))

    assert len(slices) == 5


async def test_a_guard_reads_the_file_when_a_look_is_due(tmp_path: Path) -> None:
    """A request waits for the look, and the ones after it do not."""
    command, ticks = admin(tmp_path), ManualClock(1000)
    command.revoke(Revocation.token("t-1", expires_at=NOW + 60))
    guard = RecordingGuard(bearer(), revocations=RevocationFile(tmp_path / "revoked.json", clock=ticks))
    for seconds in (0, 1, 0):
        ticks.move(seconds)
        await guard.request(RecordingApp(), field=f"Bearer {mint(jti='t-1')}")

    assert guard.outcomes == ["token.revoked"] * 3


async def test_the_app_enters_one_and_lists_all_that_have_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command does, in slices; and those alone that were entered since."""
    monkeypatch.setattr(revocation_file, "SLICE", 2)
    wall = ManualClock(NOW)
    admin(tmp_path).make()
    store = RevocationFile(tmp_path / "revoked.json", wall=wall)
    for revocation in (ALICE, SESSION, Revocation.token("ended", expires_at=NOW - 600)):
        await store.revoke(revocation)
    wall.move(10)
    await store.revoke(KEY)
    parts = [part async for part in store.live(-math.inf)]
    late = [part async for part in store.live(NOW + 10)]

    assert [[each.key for each in part] for part in parts] == [[ALICE.key, SESSION.key], [KEY.key]]
    assert [[(each.before, each.expires_at) for each in part] for part in late] == [[(math.inf, math.inf)]]
    assert len(admin(tmp_path).revocations()) == 4


async def test_a_file_that_is_gone_takes_none_and_lists_none(tmp_path: Path) -> None:
    """A new file would hold the new one alone, and look whole. An empty list would look like no revocation."""
    admin(tmp_path).make()
    store = RevocationFile(tmp_path / "revoked.json")
    (tmp_path / "revoked.json").unlink()

    with pytest.raises(BackendUnavailable, match="there is no such file"):
        await store.revoke(KEY)
    with pytest.raises(BackendUnavailable, match="there is no such file"):
        [part async for part in store.live(-math.inf)]
    assert not (tmp_path / "revoked.json").exists()
