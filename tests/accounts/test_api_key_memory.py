"""API keys in memory and by a function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from authguard.accounts.api_key import ApiKeyStore, LastUseStore, StoredKey
from authguard.accounts.api_key_memory import ApiKeyLookup, MemoryApiKeys
from authguard.errors import ConfigurationError, WrongAnswer
from tests.support.clock import NOW
from tests.support.schemes.api_key import KEY_ID, stored_key


async def test_a_key_is_found_by_its_id() -> None:
    """At once, and when it is awaited."""
    key = stored_key()
    store = MemoryApiKeys([key])

    assert isinstance(store, ApiKeyStore)
    assert isinstance(store, LastUseStore)
    assert store.find_now(KEY_ID) is await store.find(KEY_ID) is key
    assert store.find_now("000000000000") is await store.find("000000000000") is None
    assert store.roles_given() == set()


async def test_a_change_counts_at_once() -> None:
    """A new key is found, and a changed one has taken the place of the old one."""
    store = MemoryApiKeys()
    await store.add(stored_key())
    await store.add(stored_key("000000000000", created=NOW - 2000))

    changed = await store.change(KEY_ID, lambda key: [replace(key, revoked=NOW)])

    assert list(changed) == [stored_key(revoked=NOW)]
    assert [key.id for key in await store.keys()] == ["000000000000", KEY_ID]
    assert store.find_now(KEY_ID) == stored_key(revoked=NOW)


async def test_a_change_that_fails_changes_nothing() -> None:
    """Neither for an id that is unknown, nor if the function raises."""
    store = MemoryApiKeys([stored_key()])

    def fail(key: StoredKey) -> list[StoredKey]:
        raise LookupError

    with pytest.raises(ConfigurationError, match="there is no key 000000000000"):
        await store.change("000000000000", lambda key: [key])
    with pytest.raises(LookupError):
        await store.change(KEY_ID, fail)
    assert list(await store.keys()) == [stored_key()]


async def test_an_id_is_unique() -> None:
    """In the list that is given, and of what is added."""
    with pytest.raises(ConfigurationError, match="taken"):
        MemoryApiKeys([stored_key(), stored_key()])
    store = MemoryApiKeys([stored_key()])
    with pytest.raises(ConfigurationError, match="taken"):
        await store.add(stored_key())


@pytest.mark.parametrize("keys", [None, ["acme_live_..."], 5])
def test_only_stored_keys_are_taken(keys: Any) -> None:
    """A text in place of one would be a key in clear."""
    with pytest.raises(ConfigurationError, match="keys"):
        MemoryApiKeys(keys)


async def test_a_look_up_asks_the_function() -> None:
    """It returns what that returns."""

    async def find(key_id: str) -> Any:
        return {"000000000000": None, "111111111111": "a text"}.get(key_id, stored_key(key_id))

    lookup = ApiKeyLookup(find)

    assert await lookup.find(KEY_ID) == stored_key()
    assert await lookup.find("000000000000") is None
    with pytest.raises(WrongAnswer, match="find"):
        await lookup.find("111111111111")


def test_the_functions_of_a_look_up_are_async() -> None:
    """They are checked while the app is built."""

    async def find(key_id: str) -> StoredKey | None:
        return None

    wrong: Any = lambda key_id: None  # noqa: E731 - what a user may write
    with pytest.raises(ConfigurationError, match="find"):
        ApiKeyLookup(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="write_last_uses"):
        ApiKeyLookup(find, write_last_uses=5)  # type: ignore[arg-type]
    assert wrong
