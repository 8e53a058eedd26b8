"""Keys that count how many of them are in memory."""

from __future__ import annotations

from typing import Self


class CountedKey(bytes):
    """A key of bytes. ``alive`` is how many of them are in memory."""

    alive = 0

    def __new__(cls, key: bytes) -> Self:
        CountedKey.alive += 1
        return super().__new__(cls, key)

    def __del__(self) -> None:
        CountedKey.alive -= 1
