"""API keys in a file: the app reads it again when it changes, and a change is one step."""

from __future__ import annotations

import json
import multiprocessing
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from authguard.accounts import api_key_file, line_file
from authguard.accounts.account import NOT_NOW
from authguard.accounts.api_key import ApiKeyStore, LastUseStore, StoredKey, rotate_key
from authguard.accounts.api_key_file import ApiKeyFile, ApiKeyFileAdmin, parse_keys, write_keys
from authguard.accounts.file_lock import locked
from authguard.accounts.watched_file import CHECK_INTERVAL, BadFile
from authguard.concurrency.slices import at_once
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.testing import ManualClock
from tests.accounts.test_slices import calls_by_slice
from tests.support.clock import NOW
from tests.support.schemes.api_key import KEY_ID, stored_key

FULL = stored_key(
    roles=["reader", "writer"],
    scopes=["orders"],
    networks=["192.0.2.0/24"],
    expires=NOW + 5,
    revoked=NOW + 1,
    successor="000000000000",
)


def many(number: int) -> list[StoredKey]:
    """So many keys, which share a digest."""
    return [stored_key(f"{index:012d}", roles=["reader"]) for index in range(number)]


def problem_of(content: bytes) -> str:
    """Why a file is bad."""
    with pytest.raises(BadFile) as caught:
        at_once(parse_keys(content))
    assert caught.value.__context__ is None
    return str(caught.value)


async def settle(store: ApiKeyFile, clock: ManualClock) -> None:
    """Let time go on until a changed file has been read."""
    for _ in range(3):
        clock.move(CHECK_INTERVAL)
        await store.find(KEY_ID)


@pytest.mark.parametrize("keys", [[], [FULL], [FULL, stored_key("000000000000")], many(250)], ids=len)
def test_what_is_written_is_read(keys: Sequence[StoredKey]) -> None:
    """All fields but the last use, and the file is JSON."""
    content = write_keys(replace(key, last_used=NOW) for key in keys)

    assert list(at_once(parse_keys(content)).values()) == list(keys)
    assert len(json.loads(content)["keys"]) == len(keys)


def test_no_part_of_a_file_is_a_file() -> None:
    """However much of it has been written, it is bad until the last line is there."""
    content = write_keys([FULL, stored_key("000000000000")])

    for length in range(len(content) - 1):
        assert problem_of(content[:length])
    assert len(at_once(parse_keys(content[:-1]))) == 2


LINE = write_keys([stored_key()]).splitlines()[1].decode()
HEAD = '{"authguard_api_keys": 1, "keys": [\n'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it is empty"),
        ("alice:$2b$...\n", "it is not a file of `authguard apikey`"),
        (f"{HEAD}{LINE}\n{LINE}\n]}}\n", "line 3 may be incomplete, or the last line is missing"),
        (f"{HEAD}{LINE},\n]}}\n", "line 3 is no key: it is not a JSON object with the fields of a key"),
        (f"{HEAD}{LINE},\n{LINE}\n]}}\n", "line 3 has the id of another line"),
        (f"{HEAD}{LINE}\n]}}\n{LINE}\n", "line 3 is not the last one"),
        (f"{HEAD}[]\n]}}\n", "line 2 is no key: it is not a JSON object with the fields of a key"),
        (f"{HEAD}{{}}\n]}}\n", "line 2 is no key: it is not a JSON object with the fields of a key"),
        (f'{HEAD}{LINE[:-1]}, "x": 1}}\n]}}\n', "line 2 is no key: it is not a JSON object with the fields of a key"),
        (f"{HEAD}{'[' * 50_000}\n]}}\n", "line 2 is no key: it is not a JSON object with the fields of a key"),
        (f"{HEAD}{LINE.replace('alice', '')}\n]}}\n", "line 2 is no key: its owner is wrong"),
    ],
)
def test_a_bad_file_is_told_without_quoting_it(content: str, problem: str) -> None:
    """The problem names the line."""
    assert problem_of(content.encode()) == problem


def test_a_larger_file_has_more_slices_and_no_larger_ones() -> None:
    """A request waits for a slice, and not for the file."""
    small, large = (calls_by_slice(parse_keys(write_keys(many(number)))) for number in (1_000, 5_000))

    assert (len(small), len(large)) == (11, 51)
    assert max(large) < 10_000


def test_keys_with_equal_roles_share_one_set() -> None:
    """The garbage collector looks at each set again and again."""
    keys = list(at_once(parse_keys(write_keys(many(3)))).values())

    assert keys[0].roles is keys[1].roles is keys[2].roles


async def test_a_key_is_found_by_its_id(tmp_path: Path) -> None:
    """At once, unless it is time to look at the file."""
    (tmp_path / "keys.json").write_bytes(write_keys([stored_key(roles=["reader"])]))
    clock = ManualClock(1000)
    store = ApiKeyFile(tmp_path / "keys.json", clock=clock)

    assert isinstance(store, ApiKeyStore)
    assert isinstance(store, LastUseStore)
    assert store.find_now(KEY_ID) == stored_key(roles=["reader"])
    assert store.find_now("000000000000") is None
    clock.move(CHECK_INTERVAL)
    assert store.find_now(KEY_ID) is NOT_NOW
    assert await store.find(KEY_ID) == stored_key(roles=["reader"])
    assert store.roles_given() == {"reader"}


async def test_a_hundred_thousand_keys_are_loaded(tmp_path: Path) -> None:
    """And each is found."""
    (tmp_path / "keys.json").write_bytes(write_keys(many(100_000)))
    store = ApiKeyFile(tmp_path / "keys.json")

    assert [(await store.find(f"{index:012d}")) is not None for index in (0, 77_777, 99_999, 100_000)] == [
        *(True, True, True),
        False,
    ]


async def test_a_change_counts_while_the_app_runs(tmp_path: Path) -> None:
    """A key that is revoked by the command is revoked in the app after two checks, without a restart."""
    admin, clock = ApiKeyFileAdmin(tmp_path / "keys.json"), ManualClock(1000)
    await admin.add(stored_key())
    store = ApiKeyFile(tmp_path / "keys.json", clock=clock)

    await admin.change(KEY_ID, lambda key: [replace(key, revoked=NOW)])
    await settle(store, clock)

    found = store.find_now(KEY_ID)
    assert isinstance(found, StoredKey)
    assert found.revoked == NOW


async def test_a_removed_line_is_missed_at_once(tmp_path: Path) -> None:
    """No content before counts as recent, as it does for lines of htpasswd: a file that is not complete is bad."""
    path, clock = tmp_path / "keys.json", ManualClock(1000)
    path.write_bytes(write_keys([stored_key(), stored_key("000000000000")]))
    store = ApiKeyFile(path, clock=clock)

    path.write_bytes(write_keys([stored_key("000000000000")]))
    await settle(store, clock)

    assert store.find_now(KEY_ID) is None


async def test_a_bad_file_is_not_used(tmp_path: Path) -> None:
    """The last good content is, for five minutes."""
    path, clock = tmp_path / "keys.json", ManualClock(1000)
    path.write_bytes(write_keys([stored_key()]))
    store = ApiKeyFile(path, clock=clock)

    path.write_bytes(write_keys([])[:-3])
    await settle(store, clock)
    assert store.find_now(KEY_ID) == stored_key()
    clock.move(301)
    with pytest.raises(BackendUnavailable):
        await store.find(KEY_ID)


def test_a_missing_file_is_told_while_the_app_is_built(tmp_path: Path) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigurationError, match="path"):
        ApiKeyFile(tmp_path / "keys.json")


# --- Changes ----------------------------------------------------------------------------------------------------------


async def test_keys_are_added_changed_and_listed(tmp_path: Path) -> None:
    """A rotation writes both keys in one step."""
    admin = ApiKeyFileAdmin(tmp_path / "keys.json")
    assert list(await admin.keys()) == []
    await admin.add(stored_key())
    await admin.add(stored_key("000000000000", created=NOW - 2000))
    rotation = rotate_key(stored_key(), overlap=60.0, now=NOW)

    changed = await admin.change(KEY_ID, lambda key: [rotation.new.stored, rotation.old])

    assert list(changed) == [rotation.new.stored, rotation.old]
    assert [key.id for key in await admin.keys()] == ["000000000000", KEY_ID, rotation.new.stored.id]


async def test_last_uses_that_may_not_be_read_are_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is in use must not be listed as one that nobody uses."""
    admin = ApiKeyFileAdmin(tmp_path / "keys.json")
    await admin.add(stored_key())

    def refuse(path: Path) -> dict[str, float]:
        raise PermissionError(13, "Permission denied", f"{path}.uses.1")

    monkeypatch.setattr(api_key_file, "read_last_uses", refuse)
    with pytest.raises(BackendUnavailable, match=r"keys\.json\.uses\.1: Permission denied"):
        await admin.keys()


async def test_the_list_has_the_last_uses(tmp_path: Path) -> None:
    """Of all workers."""
    admin = ApiKeyFileAdmin(tmp_path / "keys.json")
    await admin.add(stored_key())
    await admin.add(stored_key("000000000000"))
    await ApiKeyFile(tmp_path / "keys.json").write_last_uses({KEY_ID: NOW + 0.9})

    assert [(key.id, key.last_used) for key in await admin.keys()] == [(KEY_ID, NOW), ("000000000000", None)]
    assert b"last_used" not in (tmp_path / "keys.json").read_bytes()


async def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The file keeps its bytes."""
    admin = ApiKeyFileAdmin(tmp_path / "keys.json")
    await admin.add(stored_key())
    before = (tmp_path / "keys.json").read_bytes()

    def fail(key: StoredKey) -> list[StoredKey]:
        raise LookupError

    with pytest.raises(ConfigurationError, match="taken"):
        await admin.add(stored_key())
    with pytest.raises(ConfigurationError, match="no key"):
        await admin.change("000000000000", lambda key: [key])
    with pytest.raises(LookupError):
        await admin.change(KEY_ID, fail)
    assert (tmp_path / "keys.json").read_bytes() == before


async def test_a_file_is_private_and_keeps_its_mode(tmp_path: Path) -> None:
    """A new one is readable by its owner alone; an administrator may open it to the app's group."""
    path = tmp_path / "keys.json"
    admin = ApiKeyFileAdmin(path)
    await admin.add(stored_key())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)

    await admin.add(stored_key("000000000000"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that it leads to is replaced."""
    (tmp_path / "real").mkdir()
    admin = ApiKeyFileAdmin(tmp_path / "real" / "keys.json")
    await admin.add(stored_key())
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "keys.json")

    await ApiKeyFileAdmin(tmp_path / "link.json").add(stored_key("000000000000"))

    assert (tmp_path / "link.json").is_symlink()
    assert len(await admin.keys()) == 2


async def test_what_a_killed_change_has_left_is_no_obstacle(tmp_path: Path) -> None:
    """Its draft is removed."""
    (tmp_path / "keys.json.new").write_bytes(b"half of a")
    admin = ApiKeyFileAdmin(tmp_path / "keys.json")

    await admin.add(stored_key())

    assert len(await admin.keys()) == 1
    assert not (tmp_path / "keys.json.new").exists()


async def test_a_file_that_is_none_of_keys_is_not_overwritten(tmp_path: Path) -> None:
    """The error says so."""
    path = tmp_path / "keys.json"
    path.write_text("alice:x\n")

    with pytest.raises(ConfigurationError, match="not a file of"):
        await ApiKeyFileAdmin(path).add(stored_key())
    assert path.read_text() == "alice:x\n"


@pytest.mark.parametrize("name", ["missing/keys.json", "."])
async def test_a_path_that_cannot_be_written_is_an_outage(tmp_path: Path, name: str) -> None:
    """The error names the path and the problem."""
    admin = ApiKeyFileAdmin(tmp_path / name)

    with pytest.raises(BackendUnavailable):
        await admin.add(stored_key())


async def test_a_change_waits_for_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives up after a while."""
    monkeypatch.setattr(line_file, "LOCK_WAIT", 0.05)
    admin = ApiKeyFileAdmin(tmp_path / "keys.json")
    with locked(tmp_path / "keys.json.lock", seconds=1), pytest.raises(BackendUnavailable, match="locked"):
        await admin.add(stored_key())

    await admin.add(stored_key())

    assert len(await admin.keys()) == 1


def add_keys(path: str, begin: int) -> None:
    """Add ten keys, in a process of its own."""

    async def add() -> None:
        admin = ApiKeyFileAdmin(path)
        for index in range(begin, begin + 10):
            await admin.add(stored_key(f"{index:012d}"))

    anyio.run(add)


def test_processes_that_change_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Forty keys, added by four processes, while a reader sees only whole files."""
    path = tmp_path / "keys.json"
    context = multiprocessing.get_context("spawn")
    add_keys(str(path), 1000)
    processes = [context.Process(target=add_keys, args=(str(path), begin)) for begin in (0, 100, 200)]
    for process in processes:
        process.start()
    seen: list[int] = []
    while any(process.is_alive() for process in processes):
        seen.append(len(at_once(parse_keys(path.read_bytes()))))
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(at_once(parse_keys(path.read_bytes()))) == 40
    assert seen == sorted(seen)
