"""API keys in one JSON file. The app reads it, and reads it again when it changes; only the command writes it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from authguard.accounts.account import NOT_NOW, NotNow
from authguard.accounts.api_key import StoredKey
from authguard.accounts.api_key_last_uses import LastUsePart, read_last_uses
from authguard.accounts.api_key_memory import changed_keys
from authguard.accounts.line_file import changing, content_of, entry_lines, replace_file, unavailable
from authguard.accounts.watched_file import BadFile, WatchedFile
from authguard.concurrency.slices import Slices, at_once
from authguard.errors import ConfigurationError
from authguard.model import Clock

T = TypeVar("T")

#: The first line.
_FIRST = b'{"authguard_api_keys": 1, "keys": ['
#: How many keys are read in one slice, which takes about two milliseconds.
_KEYS = 100
#: The fields of a key that are written. Its last use is in a file beside.
_FIELDS = (
    *("id", "digest", "owner", "name", "roles", "scopes", "prefix", "environment", "networks"),
    *("created", "expires", "revoked", "successor"),
)


class ApiKeyFile:
    """API keys from a file that the command makes: ``ApiKeyFile("keys.json")``, ``authguard apikey create ...``.

    - ``path``: a JSON file with one key a line, as the command writes it. It holds no key, only hashes.

    The file is read again when it changes: a new or a revoked key counts at most 2.5 seconds after the change, if
    there are requests. ``WatchedFile`` says what happens if the file is bad. It is bad if its last line is missing, so
    that it is never used while somebody writes it. When keys were last used stands in ``PATH.uses.N``, one file for
    each worker; the folder must be writable for that. Raises ``ConfigurationError``.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock = time.monotonic) -> None:
        self._file = WatchedFile(path, parse_keys, argument="path", clock=clock)
        self._last_uses = LastUsePart(Path(path).resolve())

    async def find(self, key_id: str) -> StoredKey | None:
        """The key of this id; None if there is none.

        Raises ``BackendUnavailable`` if the file has been bad for too long.
        """
        return (await self._file.value()).get(key_id)

    def find_now(self, key_id: str) -> StoredKey | NotNow | None:
        """The same answer, or ``NOT_NOW`` if it is time to check the file."""
        return NOT_NOW if self._file.is_check_due else self._file.current.get(key_id)

    async def write_last_uses(self, uses: Mapping[str, float]) -> None:
        """Write the times of last uses into the file of this worker."""
        await anyio.to_thread.run_sync(self._last_uses.write, uses, self._file.last)

    def roles_given(self) -> frozenset[str]:
        """The roles of all keys, in the last good content of the file."""
        return frozenset[str]().union(*{key.roles for key in self._file.last.values()})


class ApiKeyFileAdmin:
    """Lists and changes the keys of an ``ApiKeyFile``, as the command does: an ``ApiKeyAdmin``.

    A change holds the lock ``PATH.lock``, writes a new file beside, and renames it over the old one: whoever reads sees
    all of it or nothing. The file is made with the first key, readable by its owner alone; later changes keep its mode
    and its group. Raises ``ConfigurationError`` for a file that is no file of keys, and ``BackendUnavailable`` if it
    cannot be written, or if another change takes longer than ten seconds.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).resolve()

    async def keys(self) -> Sequence[StoredKey]:
        """All keys with their last uses, the oldest first. Raises ``BackendUnavailable`` if those cannot be read."""
        return await anyio.to_thread.run_sync(self._keys)

    async def add(self, key: StoredKey) -> None:
        """Store a new key. Raises ``ConfigurationError`` for an id that is taken."""

        def add(keys: dict[str, StoredKey]) -> None:
            if key.id in keys:
                raise ConfigurationError("keys", f"the id {key.id} is taken")
            keys[key.id] = key

        await anyio.to_thread.run_sync(self._update, add)

    async def change(self, key_id: str, change: Callable[[StoredKey], Sequence[StoredKey]]) -> Sequence[StoredKey]:
        """Store what ``change`` makes of a key. Raises ``ConfigurationError`` for an id that is unknown."""

        def put(keys: dict[str, StoredKey]) -> Sequence[StoredKey]:
            changed = changed_keys(keys, key_id, change)
            keys |= {key.id: key for key in changed}
            return changed

        return await anyio.to_thread.run_sync(self._update, put)

    def _keys(self) -> Sequence[StoredKey]:
        try:
            uses = read_last_uses(self._path)
        except PermissionError as error:
            raise unavailable(Path(error.filename), error) from None
        keys = self._read().values()
        return sorted((replace(key, last_used=uses.get(key.id)) for key in keys), key=lambda key: key.created)

    def _read(self) -> dict[str, StoredKey]:
        try:
            return dict(at_once(parse_keys(self._path.read_bytes())))
        except FileNotFoundError:
            return {}
        except BadFile as error:
            problem = str(error)
        except OSError as error:
            raise unavailable(self._path, error) from None
        raise ConfigurationError("path", f"{self._path}: {problem}")

    def _update(self, change: Callable[[dict[str, StoredKey]], T]) -> T:
        with changing(self._path):
            keys = self._read()
            result = change(keys)
            replace_file(self._path, write_keys(keys.values()))
            return result


def write_keys(keys: Iterable[StoredKey]) -> bytes:
    """The content of a file with these keys. This is the reverse of ``parse_keys``."""
    return content_of(_FIRST, map(_record, keys))


def _record(key: StoredKey) -> Mapping[str, object]:
    fields = {name: getattr(key, name) for name in _FIELDS}
    sets = {name: sorted(fields[name]) for name in ("roles", "scopes")}
    return {name: value for name, value in {**fields, **sets}.items() if value not in (None, "", [], ())}


def parse_keys(content: bytes) -> Slices[Mapping[str, StoredKey]]:
    """The keys in a file, by their ids. Raises ``BadFile``, which quotes nothing of it."""
    keys: dict[str, StoredKey] = {}
    shared: dict[frozenset[str], frozenset[str]] = {}
    for number, line in entry_lines(content, _FIRST, "authguard apikey"):
        key = _read_key(number, line)
        if key.id in keys:
            raise BadFile(f"line {number} has the id of another line")
        # Sets that are equal are one object: the garbage collector looks at each again and again.
        for name in ("roles", "scopes"):
            names = getattr(key, name)
            object.__setattr__(key, name, shared.setdefault(names, names))
        keys[key.id] = key
        if number % _KEYS == 0:
            yield
    return keys


def _read_key(number: int, line: bytes) -> StoredKey:
    problem = "it is not a JSON object with the fields of a key"
    try:
        record: Any = json.loads(line)
        return StoredKey(record.pop("id"), record.pop("digest"), **record)
    except ConfigurationError as error:
        problem = f"its {error.argument} is wrong"
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        pass
    # Raised here and not in the except blocks, because the errors hold a part of the line.
    raise BadFile(f"line {number} is no key: {problem}")
