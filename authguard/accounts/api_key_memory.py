"""API keys in memory, and API keys by a function that reads any database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from authguard.accounts.api_key import StoredKey, check_key_id
from authguard.app_code import async_function, awaitable, wrong_answer
from authguard.errors import ConfigurationError
from authguard.fork import ForkSafeLock

#: The async functions that an ``ApiKeyLookup`` calls.
FindKey: TypeAlias = Callable[[str], Awaitable[StoredKey | None]]
WriteLastUses: TypeAlias = Callable[[Mapping[str, float]], Awaitable[None]]


class MemoryApiKeys:
    """API keys in the memory of this process: ``MemoryApiKeys([new.stored])``.

    For tests, and for keys that the configuration of the app holds. ``keys``, ``add`` and ``change`` are those of
    ``ApiKeyAdmin``: a change counts at once. Raises ``ConfigurationError`` for two keys of one id.
    """

    def __init__(self, keys: Iterable[StoredKey] = ()) -> None:
        values = tuple(keys) if isinstance(keys, Iterable) else ()
        if not isinstance(keys, Iterable) or not all(isinstance(key, StoredKey) for key in values):
            raise ConfigurationError("keys", "give a list of StoredKey: [new_key(...).stored]")
        self._keys: dict[str, StoredKey] = {}
        self._lock = ForkSafeLock()
        for key in values:
            self._add(key)

    async def find(self, key_id: str) -> StoredKey | None:
        """The key of this id; None if there is none."""
        return self._keys.get(key_id)

    def find_now(self, key_id: str) -> StoredKey | None:
        """The same answer, which is always in memory."""
        return self._keys.get(key_id)

    async def write_last_uses(self, uses: Mapping[str, float]) -> None:
        """Keep the times of the last uses."""
        with self._lock:
            for key_id, used in uses.items():
                key = self._keys.get(key_id)
                if key is not None and (key.last_used is None or key.last_used < used):
                    self._keys[key_id] = replace(key, last_used=used)

    async def keys(self) -> Sequence[StoredKey]:
        """All keys, the oldest first."""
        return sorted(self._keys.values(), key=lambda key: key.created)

    async def add(self, key: StoredKey) -> None:
        """Store a new key. Raises ``ConfigurationError`` for an id that is taken."""
        with self._lock:
            self._add(key)

    async def change(self, key_id: str, change: Callable[[StoredKey], Sequence[StoredKey]]) -> Sequence[StoredKey]:
        """Store what ``change`` makes of a key. Raises ``ConfigurationError`` for an id that is unknown."""
        with self._lock:
            changed = changed_keys(self._keys, key_id, change)
            self._keys |= {key.id: key for key in changed}
        return changed

    def roles_given(self) -> frozenset[str]:
        """The roles of all keys."""
        return frozenset[str]().union(*(key.roles for key in self._keys.values()))

    def _add(self, key: StoredKey) -> None:
        if key.id in self._keys:
            raise ConfigurationError("keys", f"the id {key.id} is taken")
        self._keys[key.id] = key


def changed_keys(
    keys: Mapping[str, StoredKey], key_id: str, change: Callable[[StoredKey], Sequence[StoredKey]]
) -> Sequence[StoredKey]:
    """What ``change`` makes of the key of this id. Raises ``ConfigurationError`` if there is none."""
    key = keys.get(check_key_id("key_id", key_id))
    if key is None:
        raise ConfigurationError("key_id", f"there is no key {key_id}")
    return tuple(change(key))


class ApiKeyLookup:
    """API keys by an async function of an id, over any database: ``ApiKeyLookup(find_key)``.

    - ``find``: it returns a ``StoredKey``, or None for an unknown id, and raises ``BackendUnavailable`` if it cannot
      tell. It is not given the secret.
    - ``write_last_uses``: it stores when keys were last used, a mapping from the id to seconds since the epoch. It is
      called every few seconds at most, outside of any request. Without it, last uses are not kept.

    Raises ``ConfigurationError``.
    """

    def __init__(self, find: FindKey, *, write_last_uses: WriteLastUses | None = None) -> None:
        async_function("find", find, "find(key_id)", "000000000000")
        self._find = find
        if write_last_uses is not None:
            async_function("write_last_uses", write_last_uses, "write_last_uses(uses)", {})
        #: None if last uses are not kept.
        self.write_last_uses = write_last_uses

    async def find(self, key_id: str) -> StoredKey | None:
        """The answer of the function. Raises ``WrongAnswer``, which names it, for anything but a key or None."""
        key = await awaitable(self._find, self._find(key_id))
        if key is not None and not isinstance(key, StoredKey):
            raise wrong_answer(self._find, key, "a StoredKey, or None if there is none")
        return key
