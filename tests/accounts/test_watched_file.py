"""``WatchedFile``: when a changed file is read, and what a bad, missing or slow one does."""

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
from authguard.accounts.watched_file import (
    CHECK_DEADLINE,
    CHECK_INTERVAL,
    KEEP_FOR,
    SETTLED_AFTER,
    BadFile,
    WatchedFile,
)
from authguard.concurrency.slices import Slices
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import STORE_UNAVAILABLE
from authguard.testing import ManualClock
from tests.accounts.file_changes import delete, log_levels, overwrite, replace, rewrite_unseen, until
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child


class Parser:
    """A parser that accepts everything that does not begin with ``junk``, and keeps what it was given."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.threads: list[threading.Thread] = []
        self.released: threading.Event | None = None

    def __call__(self, octets: bytes) -> Slices[bytes]:
        self.contents.append(octets)
        self.threads.append(threading.current_thread())
        if self.released is not None:
            assert self.released.wait(30)
        yield
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
    """A wall clock by which every file was written a moment ago, so that one look is never enough."""
    return 0.0


def _later() -> float:
    """A wall clock by which every file has not changed for a long time."""
    return time.time() + SETTLED_AFTER + 3600


def _standing_still() -> Callable[[], float]:
    now = time.time()
    return lambda: now


def _watch(path: Path, parse: Parser, clock: ManualClock, wall: Callable[[], float] = _just_now) -> WatchedFile[bytes]:
    return WatchedFile(path, parse, argument="path", clock=clock, wall=wall)


async def _look(file: WatchedFile[bytes], clock: ManualClock, times: int = 1) -> bytes:
    """The content after so many looks at the file."""
    for _ in range(times - 1):
        clock.move(CHECK_INTERVAL)
        await file.value()
    clock.move(CHECK_INTERVAL)
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
    """A file that was written a moment ago is read only after two looks in a row found it unchanged."""
    file = _watch(path, parse, clock)
    overwrite(path, b"new")

    assert [await _look(file, clock), await _look(file, clock)] == [b"old", b"new"]
    assert file.last == b"new"


async def test_a_change_that_was_long_ago_is_taken_at_the_first_look(
    path: Path, parse: Parser, clock: ManualClock
) -> None:
    """The first request after an idle night sees a change of the evening."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")

    assert await _look(file, clock) == b"new"


async def test_an_old_time_of_writing_does_not_pass_for_a_file_left_alone(
    path: Path, parse: Parser, clock: ManualClock
) -> None:
    """A copy may have the modification time of its original and still be growing, so it needs two looks."""
    file = _watch(path, parse, clock, _standing_still())
    rewrite_unseen(path, overwrite, b"new", aged=3600)

    assert [await _look(file, clock), await _look(file, clock)] == [b"old", b"new"]


async def test_a_file_is_left_alone_while_it_is_written(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A file that is truncated and then written line by line is never read half-way."""
    file = _watch(path, parse, clock)
    values = []

    for content in (b"", b"new line\n", b"new line\nand another\n"):
        overwrite(path, content)
        values.append(await _look(file, clock))
    values.append(await _look(file, clock))

    assert values == [b"old", b"old", b"old", b"new line\nand another\n"]
    assert parse.contents == [b"old", b"new line\nand another\n"]


async def test_a_file_that_changes_as_it_is_read_is_not_taken(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the file changed while it was read, the content is discarded, and the file does not count as bad."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"junk: half of it")
    read = Path.read_bytes

    def read_and_write(self: Path) -> bytes:
        data = read(self)
        self.write_bytes(b"all of it")
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_write)
    first = await _look(file, clock)
    monkeypatch.undo()

    assert first == b"old"
    assert await _look(file, clock) == b"all of it"
    assert parse.contents == [b"old", b"all of it"]


async def test_what_was_read_at_first_is_read_again(path: Path, parse: Parser, clock: ManualClock) -> None:
    """The first reading may have met a file that was being written, so it is read again after two equal looks."""
    file = _watch(path, parse, clock)

    await _look(file, clock, times=4)

    assert parse.contents == [b"old", b"old"]


async def test_a_file_that_does_not_change_is_not_read(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A look at an unchanged file costs one stat call."""
    file = _watch(path, parse, clock, _later)
    await _look(file, clock)
    parse.contents.clear()

    assert await _look(file, clock, times=3) == b"old"
    assert parse.contents == []


async def test_the_file_is_looked_at_every_half_second_at_most(path: Path, parse: Parser, clock: ManualClock) -> None:
    """However many requests arrive, the file is checked at most twice a second."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")

    clock.move(CHECK_INTERVAL - 0.01)
    before = await file.value()
    clock.move(0.01)

    assert (before, await file.value()) == (b"old", b"new")


async def test_parallel_requests_share_a_look(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty parallel requests cost one stat call, and all of them see its result."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")
    clock.move(CHECK_INTERVAL)
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
    """The file is read in a thread, so a slow disk delays no other request."""
    file = _watch(path, parse, clock, _later)

    await _look(file, clock)

    assert parse.threads[0] is threading.current_thread()
    assert parse.threads[1] is not threading.current_thread()


async def test_a_file_that_was_replaced_is_read(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A file that was renamed over the old one is read, even if size and time are equal."""
    file = _watch(path, parse, clock)
    await _look(file, clock, times=2)

    rewrite_unseen(path, replace, b"new")

    assert await _look(file, clock, times=2) == b"new"


async def test_a_time_that_was_set_back_hides_no_change(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A changed file is noticed even if its modification time was restored and its size is the same."""
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
async def test_a_bad_file_keeps_the_last_good_content(
    spoil: Callable[[Path], None], path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good content is used for five minutes, with one ERROR. Then it is an outage."""
    file = _watch(path, parse, clock, _later)
    await _look(file, clock)
    spoil(path)

    first = await _look(file, clock)
    clock.move(KEEP_FOR - 0.01)
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


@pytest.mark.parametrize("after", [0.0, KEEP_FOR])
async def test_a_file_that_is_good_again_is_taken(
    after: float, path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is good again is read, after any time, and a log record says so."""
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
    """If a disk is unavailable for a while and comes back with the same file, the file is not even read."""
    file = _watch(path, parse, clock, _later)
    await _look(file, clock)
    folder = path.parent.rename(path.parent.with_name("away"))
    await _look(file, clock)

    folder.rename(path.parent)

    assert await _look(file, clock) == b"old"
    assert log_levels(caplog) == ["ERROR", "WARNING"]
    assert len(parse.contents) == 2


async def test_each_failure_is_logged_once(
    path: Path, parse: Parser, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad file that turns bad in another way logs nothing new. After a good file in between it does."""
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
    """A bad file is not read again until it changes, so that it does not use a processor for five minutes."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"junk")

    await _look(file, clock, times=5)

    assert parse.contents == [b"old", b"junk"]


async def test_a_file_that_is_too_large_is_not_read(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file above the limit, such as a log that was moved over it, is not read into memory."""
    file = _watch(path, parse, clock, _later)
    monkeypatch.setattr(watched_file, "MAX_BYTES", 8)
    overwrite(path, b"much too long")

    assert await _look(file, clock) == b"old"
    assert parse.contents == [b"old"]
    assert log_levels(caplog) == ["ERROR"]


@contextmanager
def _without_privileges() -> Iterator[None]:
    """Run as another user for a while, because root can read everything."""
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
    """A changed mode is noticed. An unreadable file counts as bad, and with its old mode it is good again."""
    with tempfile.TemporaryDirectory() as folder:
        path = _for_everybody(folder)
        file = _watch(path, parse, clock, _later)
        with _without_privileges():
            await _look(file, clock)

        path.chmod(0)
        with _without_privileges():
            assert await _look(file, clock) == b"old"
            clock.move(KEEP_FOR)
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
    """Requests of the first second wait for a look that hangs, and later ones use the last good content at once."""
    file = _watch(path, parse, clock, _later)
    parse.released = threading.Event()
    clock.move(CHECK_INTERVAL)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.value)
        await until(lambda: len(parse.contents) == 2)
        tasks.cancel_scope.cancel()  # the caller's own deadline was shorter
    clock.move(CHECK_DEADLINE)
    values = [await file.value(), await file.value()]
    clock.move(KEEP_FOR)
    with pytest.raises(BackendUnavailable):
        await file.value()

    assert values == [b"old", b"old"]
    assert log_levels(caplog) == ["ERROR"]

    parse.released.set()
    await until(lambda: not file._pool.working)
    assert await file.value() == b"old"
    assert log_levels(caplog) == ["ERROR", "WARNING"]


async def test_nobody_waits_for_a_look_for_longer_than_a_second(
    path: Path, parse: Parser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a second a request stops waiting for a look that hangs, and uses the last good content."""
    monkeypatch.setattr(watched_file, "CHECK_DEADLINE", 0.01)
    file = _watch(path, parse, clock, _later)
    parse.released = threading.Event()
    clock.move(CHECK_INTERVAL)

    value = await file.value()
    parse.released.set()

    assert CHECK_DEADLINE == 1.0
    assert value == b"old"


@pytest.mark.parametrize("spoil", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_file_that_is_bad_from_the_beginning_is_refused(
    spoil: Callable[[Path], None], path: Path, parse: Parser, clock: ManualClock
) -> None:
    """A bad file raises while the app is built, and the error names the argument and the file."""
    spoil(path)

    with pytest.raises(ConfigurationError) as caught:
        _watch(path, parse, clock)

    assert caught.value.argument == "path"
    assert str(path) in str(caught.value)


async def test_the_loops_of_two_threads_share_a_file(path: Path, parse: Parser, clock: ManualClock) -> None:
    """Content that was read for a request on one loop is used on all loops."""
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


@needs_fork
def test_a_forked_child_checks_the_file_with_its_own_thread(path: Path, parse: Parser, clock: ManualClock) -> None:
    """A forked child checks the file although a check hangs in its parent, and a thread of the parent holds the pool's
    lock."""
    file = _watch(path, parse, clock, _later)
    overwrite(path, b"new")
    clock.move(CHECK_INTERVAL)
    parse.released = released = threading.Event()
    request = threading.Thread(target=anyio.run, args=(file.value,))
    request.start()
    anyio.run(until, lambda: len(parse.contents) == 2)

    def check() -> bytes:
        parse.released = None
        return anyio.run(file.value)

    with held_by_another_thread(file._pool._queue.changed):
        answer = run_in_child(check)
    released.set()
    request.join(30)

    assert answer == "b'new'"
