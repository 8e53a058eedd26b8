"""Large files are parsed in slices, so that a request waits for a slice and not for a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authguard.accounts import groups
from authguard.accounts.digest_account import hash_of
from authguard.accounts.digest_index import index_digests
from authguard.accounts.groups import BLANKS, SLICE, Line, _parse_groups, read_lines
from authguard.accounts.htdigest import _parse as parse_digests
from authguard.accounts.htpasswd import HtpasswdFile, _parse_users
from authguard.accounts.password_hashes import LibpassHasher
from authguard.accounts.watched_file import CHECK_INTERVAL, BadFile
from authguard.concurrency.slices import Slices, at_once
from authguard.testing import ManualClock
from authguard.wire.digest import user_hash
from tests.accounts.file_changes import replace
from tests.support.call_count import count_calls

SHA = "{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g="
HASHER = LibpassHasher()
parse_users = partial(_parse_users, reads=lambda stored: stored.startswith("{SHA}"), problem_of=None)
examine_users = partial(_parse_users, reads=HASHER.reads, problem_of=HASHER.problem_of)


def passwords(number: int, stored: str = SHA) -> bytes:
    """A file of htpasswd with so many users."""
    return "".join(f"user{index}:{stored}\n" for index in range(number)).encode()


def digests(number: int) -> bytes:
    """A file of htdigest with so many users."""
    return "".join(f"user{index}:orders:{index:064x}\n" for index in range(number)).encode()


def one_group(number: int) -> bytes:
    """A group with so many names, in one line."""
    return ("staff: " + " ".join(f"user{index}" for index in range(number)) + "\n").encode()


def many_groups(number: int) -> bytes:
    """So many groups of two names."""
    return "".join(f"staff{index}: user{index} user{index + 1}\n" for index in range(number)).encode()


FILES: list[tuple[Callable[[bytes], Slices[Any]], Callable[[int], bytes]]] = [
    (parse_users, passwords),
    (parse_users, lambda number: passwords(number).replace(b"\n", b"\r\n")),
    (parse_users, lambda number: passwords(number, "*locked")),
    (examine_users, passwords),
    (parse_digests, digests),
    (_parse_groups, one_group),
    (_parse_groups, many_groups),
]
IDS = ["htpasswd", "with CR", "unreadable hashes", "examined hashes", "htdigest", "one group", "many groups"]


def calls_by_slice(work: Slices[Any]) -> list[int]:
    """How many calls each slice makes."""
    calls: list[int] = []
    running = True

    def one_slice() -> None:
        nonlocal running
        try:
            next(work)
        except (StopIteration, BadFile):
            running = False

    while running:
        calls.append(count_calls(one_slice))
    return calls


@pytest.mark.parametrize(("parse", "content"), FILES, ids=IDS)
def test_a_larger_file_has_more_slices_and_no_larger_ones(
    parse: Callable[[bytes], Slices[Any]], content: Callable[[int], bytes]
) -> None:
    """The first slice decodes the whole file, piece by piece. All others are short."""
    small, large = calls_by_slice(parse(content(3_000))), calls_by_slice(parse(content(12_000)))

    assert len(large) > len(small)
    assert max(large[1:]) < 10_000
    assert large[0] < sum(large) / 4


@pytest.mark.parametrize("content", [passwords(20_000), digests(20_000), many_groups(20_000)])
def test_a_slice_has_few_lines(content: bytes) -> None:
    """So that no function written in C, such as ``str.split``, works on all of the file at once."""
    sizes = [sum(len(text) + 1 for _, text, _ in lines) for lines in read_lines(content)]

    assert max(sizes) <= SLICE + 200
    assert sum(sizes) == len(content)


def test_names_with_the_same_roles_share_one_set() -> None:
    """The garbage collector looks at each set again and again, and holds up all threads meanwhile."""
    roles = at_once(_parse_groups(b"a: x y z\nb: x y\nc: y x\nb: x\n"))

    assert roles == {"x": {"a", "b", "c"}, "y": {"a", "b", "c"}, "z": {"a"}}
    assert roles["x"] is roles["y"]


def lines_one_by_one(content: bytes) -> Iterator[Line]:
    """The definition of the lines of a file."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile("it is not UTF-8") from None
    *ended, last = text.split("\n")
    for number, untrimmed in enumerate([*ended, last], 1):
        line = untrimmed.strip(BLANKS)
        if any(ord(character) < 0x20 and character != "\t" for character in line) or "\x7f" in line:
            raise BadFile(f"line {number} contains a control character")
        if line and not line.startswith("#"):
            yield number, line, number <= len(ended)


def until_it_is_bad(lines: Iterator[Line]) -> list[object]:
    """The lines, and the text of the error, if there is one."""
    found: list[object] = []
    try:
        found += lines
    except BadFile as error:
        found.append(str(error))
    return found


pieces = st.sampled_from(
    [
        *(b"a", b"b:c", b"#", b" ", b"\t", b"\r", b"\v", b"\0", b"\x7f", b"\n", b"\n", b"\n"),
        *("\u2028\xe9".encode(), b"\xef\xbb\xbf", b"\xc3", b"\xff"),
    ]
)


@pytest.mark.parametrize("size", [1, 5, SLICE])
@given(content=st.lists(pieces, max_size=30).map(b"".join))
@example(content=b"a\nb\0\nc")
@example(content=b"\xef\xbb\xbfa\n\xef\xbb\xbfb")
def test_the_lines_are_the_same_however_long_a_slice_is(size: int, content: bytes) -> None:
    """Each line, its number, whether it is ended, and the first problem are those of the file as a whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "SLICE", size)
        lines = until_it_is_bad(line for piece in read_lines(content) for line in piece)

    assert lines == until_it_is_bad(lines_one_by_one(content))


def test_a_hashed_name_is_found_by_what_a_client_sends() -> None:
    """The index hashes a name as RFC 7616 section 3.4.4 says, whatever its letters."""
    names = {"alice": 1, "J\xe4s\xf8n Doe": 2, "\U0001f511": 3}
    index = at_once(index_digests({("or\xe9", algorithm): names for algorithm in ("SHA-256", "MD5")}))

    for algorithm in ("SHA-256", "MD5"):
        for name, value in names.items():
            hashed = user_hash(hash_of(algorithm), name, "or\xe9").decode()
            assert index.find(hashed, "or\xe9", algorithm, hashed=True) == (name, value)


async def test_a_changed_file_is_parsed_with_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread sleeps after each slice, so that the event loop gets the interpreter. A constructor does not."""
    pauses: list[tuple[threading.Thread, float]] = []
    sleep = time.sleep

    def count(seconds: float) -> None:
        pauses.append((threading.current_thread(), seconds))
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", count)
    path, clock = tmp_path / "users", ManualClock(1000)
    path.write_bytes(passwords(5_000))
    users = HtpasswdFile(path, clock=clock)
    at_first = list(pauses)
    replace(path, passwords(6_000))
    for _ in range(2):
        clock.move(CHECK_INTERVAL)
        await users.find("user5999")

    account = await users.find("user5999")

    assert account is not None
    assert at_first == []
    assert len(pauses) == sum(1 for _ in users._parse(passwords(6_000)))
    assert {thread is threading.current_thread() for thread, _ in pauses} == {False}
    assert all(seconds > 0 for _, seconds in pauses)
