"""Files that are written in pieces: what is still to come is not told as unknown, and what is removed goes in seconds.

Each test writes a real file. The clocks are those of the test: the monotonic one, and the one of the file system.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from authguard import AuthGuardMiddleware, BackendUnavailable, Basic, Guard, HtdigestFile, HtpasswdFile, role
from authguard.accounts.groups import GroupMembership
from authguard.accounts.watched_file import CHECK_INTERVAL, INCOMPLETE_FOR, KEEP_FOR, EmptyFile, WatchedFile
from authguard.reasons import STORE_UNAVAILABLE
from authguard.testing import ManualClock
from tests.accounts.file_changes import log_levels, overwrite, replace
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app

SHA = "{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g="  # "a"
NAMES = ("alice", "bob", "carol", "dave")
Lines = Callable[[Sequence[str]], bytes]


def password_lines(names: Sequence[str]) -> bytes:
    """The lines of these users in a file of htpasswd."""
    return b"".join(f"{name}:{SHA}\n".encode() for name in names)


def digest_lines(names: Sequence[str]) -> bytes:
    """The lines of these users in a file of htdigest."""
    return b"".join(f"{name}:orders:{'0' * 64}\n".encode() for name in names)


def group_lines(names: Sequence[str]) -> bytes:
    """A group line for each of these users."""
    return b"".join(f"staff: {name}\n".encode() for name in names)


class TornFile:
    """A file with four names and what reads it. ``knows`` says which of the names are found, after a number of looks.

    The clock of the file system stands still between two looks, however slow the machine is.
    """

    def __init__(self, path: Path, lines: Lines) -> None:
        self.path, self.lines, self.clock = path, lines, ManualClock(1000)
        overwrite(path, lines(NAMES))
        self.users = path
        if lines is group_lines:
            self.users = path.with_name("users-of-the-groups")
            overwrite(self.users, password_lines(NAMES))
        self.store: Any = (
            HtdigestFile(path, clock=self.clock)
            if lines is digest_lines
            else HtpasswdFile(self.users, groups=path if lines is group_lines else None, clock=self.clock)
        )
        files: dict[Lines, Callable[[], Any]] = {
            password_lines: lambda: self.store._users,
            digest_lines: lambda: self.store._digests,
            group_lines: lambda: self.store._groups._file,
        }
        self.file: WatchedFile[Any] = files[lines]()
        self.file._wall = self.wall
        self.age = 0.0

    def wall(self) -> float:
        """By this clock, the last change was ``age`` seconds ago."""
        status = self.path.stat()
        return max(status.st_mtime_ns, status.st_ctime_ns) / 1e9 + self.age

    async def knows(self, *, looks: int = 2) -> list[str]:
        """The names that are found, or have their role, after so many looks."""
        for _ in range(looks):
            self.move(CHECK_INTERVAL)
            await self._find("nobody")
        return [name for name in NAMES if await self._find(name)]

    def move(self, seconds: float) -> None:
        """Let time go by, for both clocks."""
        self.clock.move(seconds)
        self.age += seconds

    def change(self, content: bytes, write: Callable[[Path, bytes], None] = overwrite) -> None:
        """Write this content at this moment."""
        write(self.path, content)
        self.age = 0.0

    async def _find(self, name: str) -> bool:
        if self.lines is digest_lines:
            return await self.store.find(name, realm="orders", algorithm="SHA-256", hashed=False) is not None
        account = await self.store.find(name)
        if self.lines is group_lines:
            return account is not None and account.roles == {"staff"}
        return account is not None


@pytest.fixture(name="torn", params=[password_lines, digest_lines, group_lines], ids=["htpasswd", "htdigest", "groups"])
def _torn(request: pytest.FixtureRequest, tmp_path: Path) -> TornFile:
    return TornFile(tmp_path / "file", request.param)


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def _recreate(path: Path, content: bytes) -> None:
    """Write a new file at the path of the old one, with another inode."""
    other = path.with_name("another-file-that-keeps-the-inode")
    path.rename(other)
    path.write_bytes(content)


#: Ways to begin a new file with a pause after its first lines.
BEGIN: dict[str, Callable[[Path, bytes], None]] = {
    "truncated and written": overwrite,
    "removed and written anew": _recreate,
}


@pytest.mark.parametrize("begin", BEGIN.values(), ids=BEGIN)
async def test_a_name_that_is_still_to_be_written_is_not_unknown(
    torn: TornFile, begin: Callable[[Path, bytes], None]
) -> None:
    """The file is written in two pieces with a pause of two seconds between them, and cut at the end of a line."""
    torn.change(torn.lines(NAMES[:2]), begin)
    during = [await torn.knows(looks=1) for _ in range(4)]
    torn.change(torn.lines(NAMES[2:]), _append)
    after = [await torn.knows(looks=1) for _ in range(20)]

    assert [*during, *after] == [list(NAMES)] * 24
    assert torn.file.recent == ()


async def test_a_file_that_was_emptied_first_is_bridged(torn: TornFile, caplog: pytest.LogCaptureFixture) -> None:
    """An empty file, then the first lines, then all: each of them for a second, and all within five."""
    found = []
    for content in (b"", torn.lines(NAMES[:1]), torn.lines(NAMES[:3]), torn.lines(NAMES)):
        torn.change(content)
        found.append(await torn.knows())

    assert found == [list(NAMES)] * 4
    assert log_levels(caplog) == ["ERROR", "WARNING"]


async def test_a_cut_after_a_change_further_up_is_bridged_too(torn: TornFile) -> None:
    """The new file need not begin as the old one does: here it has one more line, and one less, before the cut."""
    torn.change(torn.lines(["eve", "bob"]))

    assert await torn.knows() == list(NAMES)
    torn.move(INCOMPLETE_FOR)
    assert await torn.knows() == ["bob"]


async def test_what_was_removed_in_place_is_gone_after_five_seconds(torn: TornFile) -> None:
    """It cannot be told from a cut at the end of a line. The five seconds count from the change."""
    torn.change(torn.lines(NAMES[:-1]))

    assert await torn.knows(looks=9) == list(NAMES)  # four and a half seconds
    assert await torn.knows(looks=1) == list(NAMES[:-1])


async def test_a_file_that_changes_all_the_time_keeps_no_name_for_longer(torn: TornFile) -> None:
    """Each removal has five seconds of its own, and later changes do not extend them."""
    torn.change(torn.lines(NAMES[1:]))
    found = [await torn.knows()]
    for number in range(5):
        content = torn.lines([*NAMES[2:], f"user{number}"])
        torn.change(content)
        found.append(await torn.knows())

    assert found == [[*NAMES]] * 4 + [[*NAMES[1:]], [*NAMES[2:]]]


async def test_a_file_that_was_renamed_over_the_old_one_counts_at_once(torn: TornFile) -> None:
    """It was complete before, so nobody who was removed has another five seconds."""
    torn.change(torn.lines(["bob", "carol"]), replace)

    assert await torn.knows() == ["bob", "carol"]


async def test_a_file_that_was_gone_in_between_may_be_torn(torn: TornFile) -> None:
    """It was not renamed over the old one, so the new one may still be written, whatever it begins with."""
    torn.path.rename(torn.path.with_name("away"))
    torn.file._wall = lambda: 0.0
    assert await torn.knows() == list(NAMES)
    torn.path.write_bytes(torn.lines(["eve", "bob"]))

    assert await torn.knows() == list(NAMES)
    torn.clock.move(INCOMPLETE_FOR)
    assert await torn.knows() == ["bob"]


async def test_a_complete_file_ends_the_wait_for_a_torn_one(torn: TornFile) -> None:
    """What a torn file did not contain is removed by a file that was renamed over it."""
    torn.change(torn.lines(NAMES[:2]))
    assert await torn.knows() == list(NAMES)
    torn.change(torn.lines(["carol", "alice"]), replace)

    assert await torn.knows() == ["alice", "carol"]


async def test_the_beginning_of_the_old_file_counts_as_torn_however_it_got_there(torn: TornFile) -> None:
    """A program may create a new file under the name, and write to that in pieces."""
    torn.change(torn.lines(NAMES[:2]), replace)

    assert await torn.knows() == list(NAMES)
    torn.move(INCOMPLETE_FOR)
    assert await torn.knows() == list(NAMES[:2])


async def test_the_removal_of_the_last_name_works_within_seconds(
    torn: TornFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell it from a file whose writing has failed, so nobody gets in, and the answer is an outage."""
    torn.change(torn.lines(["alice"]))
    torn.move(INCOMPLETE_FOR)
    assert await torn.knows() == ["alice"]
    torn.change(b"# nobody\n")

    assert await torn.knows(looks=9) == ["alice"]
    with pytest.raises(BackendUnavailable, match=r"is empty$") as caught:
        await torn.knows(looks=1)
    assert caught.value.reason is STORE_UNAVAILABLE
    assert log_levels(caplog) == ["ERROR"]
    assert "; the last good content is used for 4 seconds" in caplog.messages[0]

    torn.change(torn.lines(["bob"]))
    torn.move(INCOMPLETE_FOR)
    assert await torn.knows() == ["bob"]
    assert log_levels(caplog) == ["ERROR", "WARNING"]


async def test_a_file_that_was_emptied_long_ago_is_an_outage_at_once(torn: TornFile) -> None:
    """The first request after an idle night does not let in whom somebody removed in the evening."""
    torn.change(b"")
    torn.move(3600)

    with pytest.raises(BackendUnavailable):
        await torn.knows(looks=1)


async def test_what_was_removed_long_ago_is_gone_at_once(torn: TornFile) -> None:
    """The same for one of several names."""
    torn.change(torn.lines(NAMES[:-1]))
    torn.move(3600)

    assert await torn.knows(looks=1) == list(NAMES[:-1])


async def test_a_file_of_the_future_is_waited_for_no_longer(torn: TornFile) -> None:
    """The clock of a file server may be ahead by an hour."""
    torn.change(torn.lines(NAMES[:-1]))
    torn.age = -3600.0

    assert await torn.knows() == list(NAMES)
    torn.clock.move(INCOMPLETE_FOR)
    assert await torn.knows() == list(NAMES[:-1])


async def test_an_empty_file_that_turns_bad_gets_no_more_time(torn: TornFile) -> None:
    """It would be five minutes for a file that was bad from the beginning; and an empty one ends these."""
    torn.change(b"")
    assert await torn.knows() == list(NAMES)
    torn.change(b"junk\n")
    assert await torn.knows() == list(NAMES)
    torn.move(INCOMPLETE_FOR)
    with pytest.raises(BackendUnavailable, match=r"is empty$"):
        await torn.knows()


async def test_what_was_no_longer_used_is_not_used_again(torn: TornFile) -> None:
    """After five minutes of a bad file, the names of before are gone, also if a new file is written in place."""
    torn.change(b"junk\n")
    await torn.knows()
    torn.move(KEEP_FOR)
    with pytest.raises(BackendUnavailable, match=r"has been bad for five minutes$"):
        await torn.knows()
    torn.change(torn.lines(["bob"]))
    torn.move(1.0)
    with pytest.raises(BackendUnavailable):
        await torn.knows(looks=1)

    assert await torn.knows(looks=1) == ["bob"]


async def test_a_file_that_is_only_touched_has_no_recent_content(torn: TornFile) -> None:
    """The same content is read again, and nothing was removed."""
    torn.change(torn.lines(NAMES))

    assert await torn.knows() == list(NAMES)
    assert torn.file.recent == ()


async def test_a_changed_line_counts_at_once(tmp_path: Path) -> None:
    """A new password does not wait for the rest of the file, and the old one is not valid any more."""
    torn = TornFile(tmp_path / "users", password_lines)
    other = SHA.replace("hvfk", "hvfK")
    torn.change(f"alice:{other}\n".encode())

    assert await torn.knows() == list(NAMES)
    assert (await torn.store.find("alice")).password_hash == other
    assert (await torn.store.find("bob")).password_hash == SHA


async def test_a_role_that_was_moved_is_held_twice_for_five_seconds(tmp_path: Path) -> None:
    """A group file that was cut takes no role from anybody before that."""
    path = tmp_path / "groups"
    overwrite(path, b"admin: alice\nstaff: bob\n")
    clock = ManualClock(1000)
    groups = GroupMembership(path, clock)
    assert groups._file is not None
    groups._file._wall = lambda: 0.0
    overwrite(path, b"staff: alice\n")
    roles: list[tuple[set[str], set[str]]] = []
    for seconds in (CHECK_INTERVAL, CHECK_INTERVAL, INCOMPLETE_FOR):
        clock.move(seconds)
        await groups.refresh()
        roles.append((set(groups.roles_of("alice")), set(groups.roles_of("bob"))))

    assert roles == [({"admin"}, {"staff"}), ({"admin", "staff"}, {"staff"}), ({"staff"}, set())]


def test_an_empty_file_is_refused_while_the_app_is_built(tmp_path: Path) -> None:
    """There is no content before it that could be used."""
    assert issubclass(EmptyFile, ValueError)
    for make, problem in (
        (HtpasswdFile, "it contains no hash"),
        (HtdigestFile, "it contains no digest"),
        (lambda path: GroupMembership(path, ManualClock()), "it contains no group"),
    ):
        path = tmp_path / "empty"
        overwrite(path, b"")
        with pytest.raises(ValueError, match=problem):
            make(path)


@pytest.mark.parametrize("which", ["users", "groups"])
async def test_a_torn_file_is_neither_a_401_nor_a_403(tmp_path: Path, which: str) -> None:
    """From the request on: whatever the file is cut down to, at the end of a line or not, dave is let in for seconds.
    Then a file that cannot be read, or is empty, is a 503, and one that was cut at the end of a line is a removal."""
    clock = ManualClock(1000)
    users, groups = tmp_path / "users", tmp_path / "groups"
    overwrite(users, password_lines(NAMES))
    overwrite(groups, group_lines(NAMES))
    store = HtpasswdFile(users, groups=groups, clock=clock)
    store._users._wall = lambda: 0.0
    assert store._groups._file is not None
    store._groups._file._wall = lambda: 0.0
    guard = Guard(Basic(store, realm="orders", clock=clock), default=role("staff"), log=False)
    app = AuthGuardMiddleware(RecordingApp(), guard=guard)
    file, lines = (users, password_lines) if which == "users" else (groups, group_lines)

    async def status() -> int:
        authorization = f"Basic {b64encode(b'dave:a').decode()}"
        clock.move(CHECK_INTERVAL)
        return (await run_app(app, http_scope(headers=header_list(authorization)))).status

    whole = lines(NAMES)
    for size, later in ((0, 503), (1, 200), (len(lines(NAMES[:1])), 401 if which == "users" else 403)):
        overwrite(file, whole[:size])
        during = {await status() for _ in range(9)}
        clock.move(INCOMPLETE_FOR)
        after = await status()
        overwrite(file, whole)
        again = [await status() for _ in range(2)][-1]

        assert (during, after, again) == ({200}, later, 200)
