from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from authguard.accounts import watched_file
from authguard.accounts.watched_file import EVERY, KEEP, PATIENCE, SETTLED, BadFile, WatchedFile
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import STORE_UNAVAILABLE
from authguard.testing import ManualClock
from tests.accounts.file_changes import delete, log_levels, overwrite, replace, rewrite_unseen, until


class Parser:
    """Takes everything but what begins with ``junk``, and counts what it was given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.threads: list[threading.Thread] = []
        self.held: threading.Event | None = None

    def __call__(self, octets: bytes) -> bytes:
        self.given.append(octets)
        self.threads.append(threading.current_thread())
        if self.held is not None:
            assert self.held.wait(30)
        if octets.startswith(b"junk"):
            raise BadFile("line 1 is junk")
        return octets


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    return ManualClock(1000)


@pytest.fixture(name="parse")
def _parse() -> Parser:
    return Parser()


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    overwrite(path, b"old")
    return path


def _just_now() -> float:
    """By this clock every file was written a moment ago, so that one look is never enough."""
    return 0.0


def _later() -> float:
    """By this clock every file was left alone for long enough."""
    return time.time() + SETTLED + 3600


def _standing_still() -> Callable[[], float]:
    now = time.time()
    return lambda: now


def _watch(path: Path, parse: Parser, clock: ManualClock, wall: Callable[[], float] = _just_now) -> WatchedFile[bytes]:
    return WatchedFile(path, parse, argument="path", clock=clock, wall=wall)


async def _look(file: WatchedFile[bytes], clock: ManualClock, times: int = 1) -> bytes:
    """What the file gives after so many looks."""
    for _ in range(times - 1):
        clock.move(EVERY)
        await file.value()
    clock.move(EVERY)
    return await file.value()


async def test_what_was_read_while_the_app_was_built_is_there_at_once(
    path: Path, parse: Parser, clock: ManualClock
) -> None:
    """The first request needs no look at the file."""
    file = _watch(path, parse, clock)
    delete(path)

    assert await file.value() == b"old"
    assert file.last == b"old"


async def test_a_change_is_taken_at_the_second_look(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A file that was written a moment ago is read only once two looks in a row found it the same."""
    file = _watch(path, parse, clock)
    overwrite(path, b"new")

    assert [await _look(file, clock), await _look(file, clock)] == [b"old", b"new"]
    assert file.last == b"new"


async def test_a_change_that_was_long_ago_is_taken_at_the_first_look(
    path: Path, parse: Parser, clock: ManualClock
) -> None:
    """After an idle night the first request already sees what was changed in the evening."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")

    assert await _look(file, clock) == b"new"


async def test_an_old_time_of_writing_does_not_pass_for_a_file_left_alone(
    path: Path, parse: Parser, clock: ManualClock
) -> None:
    """A copy that was given the time of its original a moment ago may still be on its way."""
    file = _watch(path, parse, clock, _standing_still())
    rewrite_unseen(path, overwrite, b"new", aged=3600)

    assert [await _look(file, clock), await _look(file, clock)] == [b"old", b"new"]


async def test_a_file_is_left_alone_while_it_is_written(path: Path, parse: Parser, clock: ManualClock) -> None:
    """Cut off, and then written line by line: not one state in between is read."""
    file = _watch(path, parse, clock)
    values = []

    for content in (b"", b"new line\n", b"new line\nand another\n"):
        overwrite(path, content)
        values.append(await _look(file, clock))
    values.append(await _look(file, clock))

    assert values == [b"old", b"old", b"old", b"new line\nand another\n"]
    assert parse.given == [b"old", b"new line\nand another\n"]


async def test_a_file_that_changes_as_it_is_read_is_not_taken(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is thrown away where the file is another one afterwards, and nobody calls it bad."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"junk: half of it")
    read = Path.read_bytes

    def read_and_write(self: Path) -> bytes:
        octets = read(self)
        self.write_bytes(b"all of it")
        return octets

    monkeypatch.setattr(Path, "read_bytes", read_and_write)
    first = await _look(file, clock)
    monkeypatch.undo()

    assert first == b"old"
    assert await _look(file, clock) == b"all of it"
    assert parse.given == [b"old", b"all of it"]


async def test_what_was_read_at_first_is_read_again(path: Path, parse: Parser, clock: ManualClock) -> None:
    """While the app was built the file was looked at but once, so that may have been in the middle of writing."""
    file = _watch(path, parse, clock)

    await _look(file, clock, times=4)

    assert parse.given == [b"old", b"old"]


async def test_a_file_that_does_not_change_is_not_read(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A look costs a stat and no more."""
    file = _watch(path, parse, clock, _later)
    await _look(file, clock)
    parse.given.clear()

    assert await _look(file, clock, times=3) == b"old"
    assert parse.given == []


async def test_the_file_is_looked_at_every_half_second_at_most(path: Path, parse: Parser, clock: ManualClock) -> None:
    """However many ask, the disk is asked twice a second."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")

    clock.move(EVERY - 0.01)
    before = await file.value()
    clock.move(0.01)

    assert (before, await file.value()) == (b"old", b"new")


async def test_those_who_come_together_share_a_look(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty requests at once cost one stat, and all of them see what it found."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")
    clock.move(EVERY)
    stats = []
    values = []
    stat = Path.stat

    def counted(self: Path) -> os.stat_result:
        stats.append(self)
        return stat(self)

    async def ask() -> None:
        values.append(await file.value())

    monkeypatch.setattr(Path, "stat", counted)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    monkeypatch.undo()

    assert values == [b"new"] * 20
    assert len(stats) == 2  # before reading, and after


async def test_a_file_is_read_off_the_loop(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A slow disk and a long file stop no other request."""
    file = _watch(path, parse, clock, _later)

    await _look(file, clock)

    assert parse.threads[0] is threading.current_thread()
    assert parse.threads[1] is not threading.current_thread()


async def test_a_file_that_was_replaced_is_read(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A file that was renamed over it is another file, whatever its size and time."""
    file = _watch(path, parse, clock)
    await _look(file, clock, times=2)

    rewrite_unseen(path, replace, b"new")

    assert await _look(file, clock, times=2) == b"new"


async def test_a_time_that_was_set_back_hides_no_change(path: Path, parse: Parser, clock: ManualClock) -> None:
    """Copying tools restore the time of a file that they wrote in place; its size may be the same."""
    file = _watch(path, parse, clock)
    await _look(file, clock, times=2)

    rewrite_unseen(path, overwrite, b"new")

    assert await _look(file, clock, times=2) == b"new"


def _fill_with_junk(path: Path) -> None:
    overwrite(path, b"junk")


def _put_a_folder_there(path: Path) -> None:
    delete(path)
    path.mkdir()


def _point_it_at_itself(path: Path) -> None:
    delete(path)
    path.symlink_to(path)


def _put_a_pipe_there(path: Path) -> None:
    delete(path)
    os.mkfifo(path)


WAYS = [delete, _fill_with_junk, _put_a_folder_there, _point_it_at_itself, _put_a_pipe_there]


@pytest.mark.parametrize("spoil", WAYS, ids=lambda way: way.__name__.strip("_"))
async def test_a_bad_file_is_bridged_for_five_minutes(
    spoil: Callable[[Path], None], path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good reading holds, with one ERROR. Then nobody can tell who may come in, which is an outage."""
    file = _watch(path, parse, clock, _later)
    await _look(file, clock)
    spoil(path)

    first = await _look(file, clock)
    clock.move(KEEP - 0.01)
    last = await file.value()
    clock.move(0.01)
    with pytest.raises(BackendUnavailable) as caught:
        await file.value()
    with pytest.raises(BackendUnavailable):
        await _look(file, clock)

    assert (first, last) == (b"old", b"old")
    assert caught.value.reason is STORE_UNAVAILABLE
    assert log_levels(caplog) == ["ERROR"]
    assert caplog.records[0].name == "authguard"
    assert str(path) in caplog.messages[0]


@pytest.mark.parametrize("after", [0.0, KEEP])
async def test_a_file_that_is_good_again_is_taken(
    after: float, path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it was bad for a moment or for long, it is read, and that it is good again is told."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"junk")
    await _look(file, clock)

    clock.move(after)
    replace(path, b"new")

    assert await _look(file, clock) == b"new"
    assert log_levels(caplog) == ["ERROR", "WARNING"]


async def test_a_file_that_comes_back_as_it_was_is_good(
    path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that was away for a while and came back has the same file: it need not even be read."""
    file = _watch(path, parse, clock, _later)
    await _look(file, clock)
    folder = path.parent.rename(path.parent.with_name("away"))
    await _look(file, clock)

    folder.rename(path.parent)

    assert await _look(file, clock) == b"old"
    assert log_levels(caplog) == ["ERROR", "WARNING"]
    assert len(parse.given) == 2


async def test_each_time_of_trouble_is_told_once(
    path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that turns bad in another way is still the same trouble; one that was good in between is new trouble."""
    file = _watch(path, parse, clock, _later)

    overwrite(path, b"junk")
    await _look(file, clock, times=3)
    delete(path)
    await _look(file, clock, times=3)
    overwrite(path, b"new")
    await _look(file, clock, times=3)
    overwrite(path, b"junk")
    await _look(file, clock, times=3)

    assert log_levels(caplog) == ["ERROR", "WARNING", "ERROR"]


async def test_junk_is_read_once(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A large bad file does not keep a processor busy for five minutes."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"junk")

    await _look(file, clock, times=5)

    assert parse.given == [b"old", b"junk"]


async def test_a_file_that_is_too_large_is_not_read(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that was moved over the file takes no memory."""
    file = _watch(path, parse, clock, _later)
    monkeypatch.setattr(watched_file, "MOST_OCTETS", 8)
    overwrite(path, b"much too long")

    assert await _look(file, clock) == b"old"
    assert parse.given == [b"old"]
    assert log_levels(caplog) == ["ERROR"]


@contextmanager
def _without_privileges() -> Iterator[None]:
    """Root may read everything, so root becomes somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def _for_everybody(folder: str) -> Path:
    path = Path(folder) / "users"
    path.write_bytes(b"old")
    path.chmod(0o644)
    path.parent.chmod(0o755)
    return path


async def test_a_file_that_became_unreadable_is_bad(
    parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """That only its mode was changed is seen, and is as bad as if it were gone; with the old mode it is good again."""
    with tempfile.TemporaryDirectory() as folder:
        path = _for_everybody(folder)
        file = _watch(path, parse, clock, _later)
        with _without_privileges():
            await _look(file, clock)

        path.chmod(0)
        with _without_privileges():
            assert await _look(file, clock) == b"old"
            clock.move(KEEP)
            with pytest.raises(BackendUnavailable):
                await file.value()
        path.chmod(0o644)
        with _without_privileges():
            assert await _look(file, clock) == b"old"

    assert log_levels(caplog) == ["ERROR", "WARNING"]
    assert "Permission denied" in caplog.messages[0]


async def test_a_disk_that_does_not_answer_is_bridged(
    path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who come in the first second wait with the look; later ones get the last good reading at once."""
    file = _watch(path, parse, clock, _later)
    parse.held = threading.Event()
    clock.move(EVERY)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.value)
        await until(lambda: len(parse.given) == 2)
        tasks.cancel_scope.cancel()  # whoever asked has a deadline too, and it was shorter
    clock.move(PATIENCE)
    values = [await file.value(), await file.value()]
    clock.move(KEEP)
    with pytest.raises(BackendUnavailable):
        await file.value()

    assert values == [b"old", b"old"]
    assert log_levels(caplog) == ["ERROR"]

    parse.held.set()
    await until(lambda: not file._pool.working)
    assert await file.value() == b"old"
    assert log_levels(caplog) == ["ERROR", "WARNING"]


async def test_nobody_waits_for_a_look_for_longer_than_a_second(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look that hangs is left to itself, and the last good reading is given."""
    monkeypatch.setattr(watched_file, "PATIENCE", 0.01)
    file = _watch(path, parse, clock, _later)
    parse.held = threading.Event()
    clock.move(EVERY)

    value = await file.value()
    parse.held.set()

    assert PATIENCE == 1.0
    assert value == b"old"


@pytest.mark.parametrize("spoil", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_file_that_is_bad_from_the_beginning_is_refused(
    spoil: Callable[[Path], None], path: Path, parse: Parser, clock: ManualClock
) -> None:
    """An app without its users does not start, and says which argument and which file it is about."""
    spoil(path)

    with pytest.raises(ConfigurationError) as caught:
        _watch(path, parse, clock)

    assert caught.value.argument == "path"
    assert str(path) in str(caught.value)


async def test_the_loops_of_two_threads_share_a_file(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A file that was read by a request on one loop is read for all."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")
    values = []

    def elsewhere() -> None:
        values.append(anyio.run(_look, file, clock))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(30)

    assert values == [b"new"]
    assert file.last == b"new"
    assert await file.value() == b"new"
